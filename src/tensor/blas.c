/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/blas.h"

#include <stdlib.h>
#include <string.h>

/* Weak: any other BLAS links as well and leaves these NULL. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));

#if defined(__x86_64__)
/* An OpenBLAS older than the processor takes kernels of 2004 (measured: 33 GFLOP/s where
 * AVX-512 gives 156), or those without AVX-512 (AMD since Zen 4; measured: 135 of 250). Its
 * own start is repeated with the family of kernels that the processor's instructions allow,
 * unless the user has named one. */
static int is_too_old(const char *core, int avx512) {
  return strcmp(core, "Prescott") == 0 ||
         (avx512 && (strcmp(core, "Haswell") == 0 || strcmp(core, "Zen") == 0));
}

static void choose_kernels(void) {
  static int done;
  if (done++ || !gotoblas_dynamic_quit || !gotoblas_dynamic_init || !openblas_get_corename)
    return;
  __builtin_cpu_init();
  const int avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!is_too_old(openblas_get_corename(), avx512) || !(avx512 || avx2) ||
      setenv("OPENBLAS_CORETYPE", avx512 ? "SkylakeX" : "Haswell", 0) != 0)
    return;
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
}
#else
static void choose_kernels(void) {}
#endif

int ntk_blas_set_threads(int threads) {
  choose_kernels();
  if (!openblas_set_num_threads || !openblas_get_num_threads)
    return 0;
  const int old = openblas_get_num_threads();
  if (threads > 0 && threads != old)
    openblas_set_num_threads(threads);
  return old;
}

/* Appends to a text of fixed room, cut where it does not fit. */
static void append(char *text, size_t room, const char *more, size_t length) {
  const size_t used = strlen(text);
  if (used + length + 1 > room)
    length = room - used - 1;
  memcpy(text + used, more, length);
  text[used + length] = '\0';
}

const char *ntk_blas_name(void) {
  static char name[64];
  if (!openblas_get_config || !openblas_get_corename)
    return "BLAS";
  choose_kernels();
  if (name[0] == '\0') { /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    const char *config = openblas_get_config(), *core = openblas_get_corename();
    size_t length = strcspn(config, " ");
    if (config[length] == ' ')
      length += 1 + strcspn(config + length + 1, " ");
    append(name, sizeof name, config, length);
    append(name, sizeof name, " ", 1);
    append(name, sizeof name, core, strlen(core));
  }
  return name;
}
