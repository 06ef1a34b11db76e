/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/real.h"

#include <string.h>

/* One output position along one axis: input index of tap 0 and the taps [low, high) that
 * fall inside the input. */
typedef struct span {
  int64_t start, low, high;
} span;

static span span_at(const ntk_window *w, int axis, int64_t position) {
  const int64_t start = position * w->stride[axis] - w->pad_begin[axis];
  const int64_t step = w->dilation[axis], last = w->input[axis] - 1 - start;
  span s = {start, start < 0 ? (-start + step - 1) / step : 0,
            last < 0 ? 0 : last / step + 1};
  if (s.high > w->kernel[axis])
    s.high = w->kernel[axis];
  if (s.low > s.high)
    s.low = s.high;
  return s;
}

/* Calls `body` for each output pixel with its spans and row. */
typedef void (*pixel_fn)(const ntk_window *w, const span s[3], int64_t channels, real *x,
                         real *row);

static void each_pixel(const ntk_window *w, int64_t channels, real *x, real *rows,
                       int64_t ld, pixel_fn body) {
  int64_t t = 0;
  for (int64_t i = 0; i < w->output[0]; i++)
    for (int64_t j = 0; j < w->output[1]; j++)
      for (int64_t k = 0; k < w->output[2]; k++, t++) {
        const span s[3] = {span_at(w, 0, i), span_at(w, 1, j), span_at(w, 2, k)};
        body(w, s, channels, x, rows + t * ld);
      }
}

static bool partial(const ntk_window *w, const span s[3]) {
  for (int a = 0; a < 3; a++)
    if (s[a].low > 0 || s[a].high < w->kernel[a])
      return true;
  return false;
}

static void gather(const ntk_window *w, const span s[3], int64_t channels, real *x,
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

static void scatter(const ntk_window *w, const span s[3], int64_t channels, real *x,
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

void NTK_REAL(ntk_im2col)(const ntk_window *window, int64_t channels, const real *x,
                          real *out, int64_t ld_out) {
  each_pixel(window, channels, (real *)x, out, ld_out, gather); /* gather only reads x */
}

void NTK_REAL(ntk_col2im_add)(const ntk_window *window, int64_t channels, const real *col,
                              int64_t ld_col, real *x) {
  each_pixel(window, channels, x, (real *)col, ld_col, scatter); /* and scatter col */
}
