/* SPDX-License-Identifier: Apache-2.0 */
#include "job/calibrate.h"
#include "base/memory.h"
#include "dist/grid.h"
#include "tensor/blas.h"
#include <errno.h>
#include <omp.h>
#include <scantk/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ntk_cpu_model(char *name, size_t size) {
  char line[256];
  (void)snprintf(name, size, "cpu");
  FILE *file = fopen("/proc/cpuinfo", "r");
  if (!file)
    return;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
      (void)snprintf(name, size, "%s", strchr(line, ':') + 2);
      name[strcspn(name, "\n")] = '\0';
      break;
    }
  (void)fclose(file);
}

/* One file name for what the rates depend on. */
static ntk_status cache_path(const char *folder, ntk_text *path) {
  char cpu[128], key[512];
  ntk_cpu_model(cpu, sizeof cpu);
  (void)snprintf(key, sizeof key, "%s-%s-%dt-%s", cpu, ntk_blas_name(),
                 omp_get_max_threads(), ntk_version());
  for (char *c = key; *c; c++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", *c))
      *c = '_';
  return ntk_text_add(path, "%s/rates-%s.txt", folder, key);
}

static ntk_status cache_folder(ntk_text *folder) {
  const char *own = getenv("SCANTK_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
  if (own && *own)
    return ntk_text_add(folder, "%s", own);
  if (xdg && *xdg)
    return ntk_text_add(folder, "%s/scantk", xdg);
  return ntk_text_add(folder, "%s/.cache/scantk", getenv("HOME") ? getenv("HOME") : ".");
}

static void make_folders(char *path) {
  for (char *c = path + 1; *c; c++)
    if (*c == '/') {
      *c = '\0';
      (void)mkdir(path, 0777);
      *c = '/';
    }
  (void)mkdir(path, 0777);
}

static bool read_rates(const char *path, ntk_rates *rates) {
  char *text = NULL;
  int64_t size;
  const bool good = ntk_file_read(path, &text, &size) == NTK_SUCCESS &&
                    ntk_rates_parse(text, path, rates) == NTK_SUCCESS;
  ntk_free(&text);
  return good;
}

/* By rename, so that a reader never sees half a file. */
static bool write_rates(const char *path, const ntk_rates *rates) {
  ntk_text text = {0}, temporary = {0};
  bool good = false;
  if (ntk_rates_write(rates, &text) == NTK_SUCCESS &&
      ntk_text_add(&temporary, "%s.%ld", path, (long)getpid()) == NTK_SUCCESS) {
    FILE *file = fopen(temporary.data, "w");
    good = file && fputs(text.data, file) >= 0;
    if (file)
      good = fclose(file) == 0 && good;
    good = good && rename(temporary.data, path) == 0;
  }
  ntk_text_clear(&text);
  ntk_text_clear(&temporary);
  return good;
}

/* Folder and file of the cache; the folder is made. */
static ntk_status cache_file(ntk_text *folder, ntk_text *path) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(cache_folder(folder));
  make_folders(folder->data);
  NTK_TRY(cache_path(folder->data, path));
done:
  return status;
}

/* On rank 0: the rates of `path`, or cached ones; *found. */
static ntk_status find_rates(const char *path, bool recalibrate, const char *cache,
                             ntk_rates *rates, int *found) {
  ntk_status status = NTK_SUCCESS;
  char *text = NULL;
  int64_t size;
  *found = 1;
  NTK_REQUIRE(!path || !recalibrate, NTK_ERR_ARGUMENT,
              "--rates and --recalibrate: give one of them");
  if (path) {
    NTK_TRY(ntk_file_read(path, &text, &size));
    NTK_TRY(ntk_rates_parse(text, path, rates));
  } else {
    *found = !recalibrate && read_rates(cache, rates);
  }
done:
  ntk_free(&text);
  return status;
}

/* Rank 0's for all. */
static ntk_status send_rates(ntk_context *context, ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  char *copy = NULL;
  if (context->rank == 0)
    status = ntk_rates_write(rates, &text);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_bcast_text(text.data, context->comm, &copy));
  ntk_rates_clear(rates);
  NTK_TRY(ntk_agree(context->comm, ntk_rates_parse(copy, "rates", rates)));
done:
  ntk_text_clear(&text);
  ntk_free(&copy);
  return status;
}

ntk_status ntk_calibrate_keep(ntk_context *context, const ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  ntk_text folder = {0}, cache = {0};
  if (context->rank == 0)
    status = cache_file(&folder, &cache);
  NTK_TRY(ntk_agree(context->comm, status));
  if (context->rank == 0 && !write_rates(cache.data, rates))
    ntk_say(context, NTK_REPORT_INFO, "rates are measured anew each time: %s: %s",
            folder.data, strerror(errno));
done:
  ntk_text_clear(&folder);
  ntk_text_clear(&cache);
  return status;
}

ntk_status ntk_calibrate(ntk_context *context, const char *path, bool recalibrate,
                         ntk_rates *rates) {
  ntk_status status = NTK_SUCCESS;
  ntk_text folder = {0}, cache = {0};
  int found = 0;
  if (context->rank == 0) {
    status = cache_file(&folder, &cache);
    if (status == NTK_SUCCESS)
      status = find_rates(path, recalibrate, cache.data, rates, &found);
  }
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY_MPI(MPI_Bcast(&found, 1, MPI_INT, 0, context->comm));
  if (!found) { /* all at once, as they will work */
    NTK_TRY(ntk_agree(context->comm, ntk_rates_measure(rates)));
    NTK_TRY(ntk_calibrate_keep(context, rates));
  }
  NTK_TRY(send_rates(context, rates));
done:
  ntk_text_clear(&folder);
  ntk_text_clear(&cache);
  return status;
}
