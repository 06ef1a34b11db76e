/* SPDX-License-Identifier: Apache-2.0 */
#include "io/space.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static ntk_status folder_of(const char *path, char **folder) {
  const ntk_status status = ntk_strdup(strchr(path, '/') ? path : "./", folder);
  char *slash = status == NTK_SUCCESS ? strrchr(*folder, '/') : NULL;
  if (slash)
    slash[slash == *folder] = '\0';
  return status;
}

double ntk_free_bytes(const char *path) {
  struct statvfs s;
  char *folder = NULL;
  const bool known = folder_of(path, &folder) == NTK_SUCCESS && statvfs(folder, &s) == 0;
  ntk_free(&folder);
  return known ? (double)s.f_bavail * (double)s.f_frsize : INFINITY;
}

/* A line of mountinfo, proc(5): "36 35 98:0 / /mnt rw master:1 - ext4 /dev/sda rw". */
static bool names_device(const char *line, dev_t device, char *name) {
  unsigned major_number, minor_number;
  const char *kind = strstr(line, " - ");
  return sscanf(line, "%*d %*d %u:%u ", &major_number, &minor_number) == 2 &&
         makedev(major_number, minor_number) == device && kind &&
         sscanf(kind, " - %31s", name) == 1;
}

const char *ntk_file_system(const char *path, char name[NTK_FILE_SYSTEM_NAME]) {
  char line[4096], *folder = NULL;
  struct stat s;
  FILE *mounts = fopen("/proc/self/mountinfo", "r");
  bool known = false;
  if (mounts && folder_of(path, &folder) == NTK_SUCCESS && stat(folder, &s) == 0)
    while (!known && fgets(line, sizeof line, mounts))
      known = names_device(line, s.st_dev, name);
  if (mounts)
    (void)fclose(mounts);
  ntk_free(&folder);
  if (!known)
    (void)snprintf(name, NTK_FILE_SYSTEM_NAME, "unknown kind");
  return name;
}

ntk_status ntk_reserve(const char *path) {
  ntk_status status = NTK_SUCCESS;
  struct stat s;
  const int file = open(path, O_RDWR);
  NTK_REQUIRE(file >= 0 && fstat(file, &s) == 0, NTK_ERR_FILE, "%s: cannot be opened: %s",
              path, strerror(errno));
  const int code = posix_fallocate(file, 0, s.st_size);
  NTK_REQUIRE(code == 0, NTK_ERR_FILE, "%s: --reserve: %.3g GiB cannot be reserved: %s",
              path, (double)s.st_size / 1073741824.0, strerror(code));
done:
  if (file >= 0)
    (void)close(file);
  return status;
}
