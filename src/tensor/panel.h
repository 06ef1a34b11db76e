/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_PANEL_H
#define NTK_TENSOR_PANEL_H

#include "tensor/real.h"

/* Products whose right operand is made on the way, such as patches of images: it is written
 * in panels of few columns that stay in cache, and multiplied there. One source for all
 * widths of vectors; the width is chosen when the program runs. For files named *_real.c.
 * All functions are local, single-threaded, allocate nothing. No element's rounding depends
 * on the panel or the place in it where it is computed. */
enum {
  NTK_PANEL_ROWS = 8,  /* of the left operand at once */
  NTK_PANEL_BYTES = 64 /* a panel has 1, 2 or 3 times as many bytes of columns */
};
#define NTK_PANEL_STEP ((int64_t)(NTK_PANEL_BYTES / sizeof(real)))
#define NTK_PANEL_COLUMNS (3 * NTK_PANEL_STEP)

/* Elements from + 0 .. length come to column `to`. */
typedef struct ntk_panel_run {
  int64_t to, from, length;
} ntk_panel_run;

typedef struct NTK_REAL(ntk_panel) {
  const char *name; /* "avx512", "avx2", "portable" */
  /* c[NTK_PANEL_ROWS, width] (+)= a^T b, a [k, NTK_PANEL_ROWS], b [k, width]. */
  void (*multiply)(int64_t k, const real *a, const real *b, int64_t width, real *c,
                   bool add);
  /* One row of a panel from runs in ascending order of `to`. Reads and writes in steps of
   * NTK_PANEL_BYTES: up to one step less an element behind the end of each run. */
  void (*gather)(int64_t count, const ntk_panel_run *runs, const real *from, real *row);
} NTK_REAL(ntk_panel);

/* The widest that the processor has; SCANTK_SIMD=portable|avx2|avx512 in the environment
 * asks for a narrower one. */
const NTK_REAL(ntk_panel) * NTK_REAL(ntk_panel_get)(void);

#endif
