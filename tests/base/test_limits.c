/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory_limit.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What limits memory: control groups in folders written by hand and, where that is allowed,
 * a real one; the words of SLURM. */

static char root[64];

/* Writes a file below the root, with the folders that lead to it. */
static void put(const char *path, const char *text) {
  char full[512];
  (void)snprintf(full, sizeof full, "%s%s", root, path);
  for (char *c = full + strlen(root) + 1; *c; c++)
    if (*c == '/') {
      *c = '\0';
      (void)mkdir(full, 0700);
      *c = '/';
    }
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static void begin_machine(const char *groups, const char *mounts) {
  (void)snprintf(root, sizeof root, P_tmpdir "/scantk_limits_XXXXXX");
  assert_non_null(mkdtemp(root));
  put("/proc/self/cgroup", groups);
  put("/proc/self/mountinfo", mounts);
}
static void end_machine(void) {
  char command[128];
  (void)snprintf(command, sizeof command, "rm -r %s", root);
  assert_int_equal(system(command), 0);
}

static const char *const mounts2 =
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "31 22 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char *const groups1 = "9:cpu,cpuacct:/other\n5:hugetlb,memory:/slurm/job_7\n"
                                   "1:name=systemd:/slurm/job_7\n0::/slurm/job_7\n";
static const char *const mounts1 =
    "30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /cgroup/mem rw - cgroup cgroup rw,hugetlb,memory\n";

/* The group's own limit, that of one above it, the softer one, none. */
static void groups_of_version_2(void **state) {
  (void)state;
  begin_machine("0::/system.slice/job_5/step_0\n", mounts2);
  assert_true(ntk_cgroup_limit(root) == -1);
  put("/sys/fs/cgroup/system.slice/job_5/step_0/memory.max", "max\n");
  assert_true(ntk_cgroup_limit(root) == -1);
  put("/sys/fs/cgroup/system.slice/memory.max", "9000\n");
  assert_true(ntk_cgroup_limit(root) == 9000);
  put("/sys/fs/cgroup/system.slice/job_5/memory.max", "7000\n");
  assert_true(ntk_cgroup_limit(root) == 7000);
  put("/sys/fs/cgroup/system.slice/job_5/step_0/memory.high", "6000\n");
  assert_true(ntk_cgroup_limit(root) == 6000);
  put("/sys/fs/cgroup/system.slice/job_5/step_0/memory.max", "50\n");
  assert_true(ntk_cgroup_limit(root) == 50);
  put("/sys/fs/cgroup/system.slice/job_6/memory.max", "1\n"); /* a neighbour's */
  assert_true(ntk_cgroup_limit(root) == 50);
  end_machine();
}

static void groups_of_version_1(void **state) {
  (void)state;
  begin_machine(groups1, mounts1);
  put("/cgroup/mem/memory.limit_in_bytes", "9223372036854771712\n");
  put("/sys/fs/cgroup/cpu,cpuacct/other/memory.limit_in_bytes", "5\n");
  assert_true(ntk_cgroup_limit(root) == 9223372036854771712);
  put("/cgroup/mem/slurm/memory.limit_in_bytes", "8000\n");
  assert_true(ntk_cgroup_limit(root) == 8000);
  put("/cgroup/mem/slurm/job_7/memory.limit_in_bytes", "4000\n");
  assert_true(ntk_cgroup_limit(root) == 4000);
  put("/sys/fs/cgroup/unified/slurm/job_7/memory.max", "3000\n");
  assert_true(ntk_cgroup_limit(root) == 3000);
  end_machine();
}

/* A container sees its own group at the root of the mount. */
static void groups_in_a_container(void **state) {
  (void)state;
  begin_machine("0::/docker/abc/inner\n",
                "31 22 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  put("/sys/fs/cgroup/memory.max", "5000\n");
  assert_true(ntk_cgroup_limit(root) == 5000);
  put("/sys/fs/cgroup/inner/memory.max", "4000\n");
  assert_true(ntk_cgroup_limit(root) == 4000);
  put("/proc/self/cgroup", "0::/../elsewhere\n");
  assert_true(ntk_cgroup_limit(root) == 5000);
  end_machine();
}

/* ---- a real one -----------------------------------------------------------------------
 */

/* Into a file that is there. */
static bool write_in(const char *folder, const char *name, const char *text) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "r+");
  bool good = file && fputs(text, file) >= 0;
  if (file)
    good = fclose(file) == 0 && good;
  return good;
}

/* In a process of its own, as it leaves its group. */
static int limit_within(const char *folder, int64_t limit) {
  const pid_t child = fork();
  if (child == 0) {
    char pid[32];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (!write_in(folder, "cgroup.procs", pid))
      _exit(77);
    _exit(ntk_cgroup_limit("") == limit ? 0 : 1);
  }
  int code = -1;
  assert_true(child > 0 && waitpid(child, &code, 0) == child && WIFEXITED(code));
  return WEXITSTATUS(code);
}

static void a_real_group(void **state) {
  (void)state;
  static const char *const parents[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
  static const char *const names[] = {"memory.limit_in_bytes", "memory.max"};
  const int64_t limit = (int64_t)64 << 20;
  bool tried = false;
  for (int i = 0; i < 2; i++) {
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s/scantk_test_%d", parents[i], (int)getpid());
    if (mkdir(folder, 0700) != 0)
      continue;
    int code = 77;
    if (write_in(folder, names[i], "67108864"))
      code = limit_within(folder, limit);
    (void)rmdir(folder);
    assert_true(code == 0 || code == 77);
    tried = tried || code == 0;
  }
  if (!tried)
    skip(); /* no control group may be made here */
}

/* ---- the cap --------------------------------------------------------------------------
 */

static void the_least_limit_is_the_cap(void **state) {
  (void)state;
  const char *bound = NULL;
  (void)unsetenv("SLURM_MEM_PER_NODE");
  (void)unsetenv("SLURM_MEM_PER_CPU");
  const int64_t machine = ntk_memory_default_cap(1, &bound);
  assert_true(machine > 0);
  assert_true(strncmp(bound, "SLURM", 5) != 0);
  (void)setenv("SLURM_MEM_PER_NODE", "10", 1);
  assert_true(ntk_memory_default_cap(1, &bound) == (int64_t)8 << 20);
  assert_string_equal(bound, "SLURM_MEM_PER_NODE");
  assert_true(ntk_memory_default_cap(4, &bound) == (int64_t)2 << 20);
  (void)setenv("SLURM_MEM_PER_CPU", "1", 1);
  (void)setenv("SLURM_CPUS_ON_NODE", "5", 1);
  assert_true(ntk_memory_default_cap(1, &bound) == (int64_t)4 << 20);
  assert_string_equal(bound, "SLURM_MEM_PER_CPU");
  (void)unsetenv("SLURM_MEM_PER_NODE");
  (void)unsetenv("SLURM_MEM_PER_CPU");
  (void)unsetenv("SLURM_CPUS_ON_NODE");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(groups_of_version_2), cmocka_unit_test(groups_of_version_1),
      cmocka_unit_test(groups_in_a_container), cmocka_unit_test(a_real_group),
      cmocka_unit_test(the_least_limit_is_the_cap)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
