/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/pixels.h"
#include "tensor/real.h"
#include <string.h>

#define NTK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))

/* One axis of a sum of shifts: positions j < n of the class become outputs t < T, on rows
 * and columns alike; indices are [outer, j, inner]. */
typedef struct pass {
  int64_t outer, n, T, inner;
  const ntk_window *window;
  int axis;
  int64_t residue;
} pass;

/* to[outer, t, inner] += from[outer, t + shift, inner] for one row. */
NTK_CLONES static void add_row(const pass *p, int64_t shift, const real *restrict from,
                               real *restrict to) {
  const int64_t first = shift < 0 ? -shift : 0;
  const int64_t end = p->n - shift < p->T ? p->n - shift : p->T;
  const int64_t length = (end - first) * p->inner;
  for (int64_t o = 0; o < p->outer; o++) {
    const real *restrict in = from + (o * p->n + first + shift) * p->inner;
    real *restrict out = to + (o * p->T + first) * p->inner;
    for (int64_t i = 0; i < length; i++)
      out[i] += in[i];
  }
}

static void run_pass(const pass *p, const real *from, int64_t ld_from, real *to,
                     int64_t ld_to) {
  for (int64_t k = 0; k < p->window->kernel[p->axis]; k++) {
    int64_t shift;
    if (!ntk_pixel_shift(p->window, p->axis, k, p->residue, &shift))
      continue;
    for (int64_t o = 0; o < p->outer; o++)
      for (int64_t t = 0; t < p->T; t++) {
        const int64_t j = t + shift;
        if (j < 0 || j >= p->n)
          continue;
        for (int64_t i = 0; i < p->inner; i++)
          add_row(p, shift, from + ((o * p->n + j) * p->inner + i) * ld_from,
                  to + ((o * p->T + t) * p->inner + i) * ld_to);
      }
  }
}

void NTK_REAL(ntk_pixels_add)(const ntk_window *w, const ntk_pixel_class *c, const real *p,
                              int64_t ldp, real *a, int64_t lda, real *scratch) {
  const int64_t half = ntk_pixels_scratch(w) / 2;
  int64_t inner = 1, outer = c->count;
  int first = 0; /* the last pass, which adds into A */
  while (first < 2 && w->kernel[first] == 1 && w->stride[first] == 1 &&
         w->pad_begin[first] == 0 && c->n[first] == w->output[first])
    first++;
  for (int axis = 2; axis >= first; axis--) {
    outer /= c->n[axis];
    const pass x = {outer, c->n[axis], w->output[axis], inner, w, axis, c->residue[axis]};
    const int64_t edge = outer * x.T * inner;
    real *to = axis == first ? a : scratch + (axis % 2) * half;
    if (axis != first)
      memset(to, 0, (size_t)(edge * edge) * sizeof *to);
    run_pass(&x, p, ldp, to, axis == first ? lda : edge);
    p = to;
    ldp = edge;
    inner *= x.T;
  }
}

void NTK_REAL(ntk_pixels_keep)(const ntk_window *w, int64_t channels, double scale,
                               const real *x, real *out) {
  const int64_t plane = ntk_window_plane(w);
  for (int64_t number = 0; number < ntk_pixel_classes(w); number++) {
    const ntk_pixel_class k = ntk_pixel_class_at(w, number);
    for (int64_t i = 0; i < k.count; i++) {
      int64_t at = 0, rest = i, position[3];
      for (int a = 2; a >= 0; a--) {
        position[a] = rest % k.n[a] * w->stride[a] + k.residue[a];
        rest /= k.n[a];
      }
      for (int a = 0; a < 3; a++)
        at = at * w->input[a] + position[a];
      for (int64_t c = 0; c < channels; c++)
        out[(k.first + i) * channels + c] = (real)scale * x[c * plane + at];
    }
  }
}
