/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/blas.h"

#include <string.h>

/* Weak: any other BLAS links as well and leaves these NULL. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

int ntk_blas_set_threads(int threads) {
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
