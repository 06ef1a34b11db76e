/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/real.h"

#include <string.h>

/* What is done with one output pixel: its spans, its row of patches. */
typedef void (*pixel_fn)(const ntk_window *w, const ntk_span s[3], int64_t channels,
                         real *x, real *row);

static void each_pixel(const ntk_window *w, int64_t channels, int64_t first, int64_t count,
                       real *x, real *rows, int64_t ld, pixel_fn body) {
  int64_t k = first % w->output[2], j = first / w->output[2] % w->output[1];
  int64_t i = first / w->output[2] / w->output[1];
  for (int64_t t = 0; t < count; t++) {
    const ntk_span s[3] = {ntk_window_span(w, 0, i), ntk_window_span(w, 1, j),
                           ntk_window_span(w, 2, k)};
    body(w, s, channels, x, rows + t * ld);
    if (++k == w->output[2]) {
      k = 0;
      if (++j == w->output[1]) {
        j = 0;
        i++;
      }
    }
  }
}

static bool partial(const ntk_window *w, const ntk_span s[3]) {
  for (int a = 0; a < 3; a++)
    if (s[a].low > 0 || s[a].high < w->kernel[a])
      return true;
  return false;
}

static void gather(const ntk_window *w, const ntk_span s[3], int64_t channels, real *x,
                   real *row) {
  const int64_t plane = w->input[0] * w->input[1] * w->input[2];
  const int64_t taps = w->kernel[0] * w->kernel[1] * w->kernel[2];
  const int64_t step = w->dilation[2];
  if (partial(w, s))
    memset(row, 0, (size_t)(channels * taps) * sizeof *row);
  for (int64_t c = 0; c < channels; c++)
    for (int64_t a = s[0].low; a < s[0].high; a++)
      for (int64_t b = s[1].low; b < s[1].high; b++) {
        const int64_t y0 = s[0].start + a * w->dilation[0];
        const int64_t y1 = s[1].start + b * w->dilation[1];
        const real *in = x + c * plane + (y0 * w->input[1] + y1) * w->input[2] + s[2].start;
        real *out = row + c * taps + (a * w->kernel[1] + b) * w->kernel[2];
        for (int64_t d = s[2].low; d < s[2].high; d++)
          out[d] = in[d * step];
      }
}

static void scatter(const ntk_window *w, const ntk_span s[3], int64_t channels, real *x,
                    real *row) {
  const int64_t plane = w->input[0] * w->input[1] * w->input[2];
  const int64_t taps = w->kernel[0] * w->kernel[1] * w->kernel[2];
  const int64_t step = w->dilation[2];
  for (int64_t c = 0; c < channels; c++)
    for (int64_t a = s[0].low; a < s[0].high; a++)
      for (int64_t b = s[1].low; b < s[1].high; b++) {
        const int64_t y0 = s[0].start + a * w->dilation[0];
        const int64_t y1 = s[1].start + b * w->dilation[1];
        real *out = x + c * plane + (y0 * w->input[1] + y1) * w->input[2] + s[2].start;
        const real *in = row + c * taps + (a * w->kernel[1] + b) * w->kernel[2];
        for (int64_t d = s[2].low; d < s[2].high; d++)
          out[d * step] += in[d];
      }
}

/* gather reads x and scatter reads the rows, whence the casts. */
void NTK_REAL(ntk_im2col_part)(const ntk_window *window, int64_t channels, int64_t first,
                               int64_t count, const real *x, real *out, int64_t ld_out) {
  each_pixel(window, channels, first, count, (real *)x, out, ld_out, gather);
}

void NTK_REAL(ntk_col2im_add_part)(const ntk_window *window, int64_t channels,
                                   int64_t first, int64_t count, const real *col,
                                   int64_t ld_col, real *x) {
  each_pixel(window, channels, first, count, x, (real *)col, ld_col, scatter);
}

static int64_t pixels(const ntk_window *w) {
  return w->output[0] * w->output[1] * w->output[2];
}

void NTK_REAL(ntk_im2col)(const ntk_window *window, int64_t channels, const real *x,
                          real *out, int64_t ld_out) {
  NTK_REAL(ntk_im2col_part)(window, channels, 0, pixels(window), x, out, ld_out);
}
