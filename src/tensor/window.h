/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_WINDOW_H
#define NTK_TENSOR_WINDOW_H

#include <stdint.h>

/* The geometry of a convolution or pooling window over up to 3 spatial axes (missing ones
 * are leading with input 1, kernel 1, stride 1, dilation 1, no pad). */
typedef struct ntk_window {
  int64_t input[3], kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3], output[3];
} ntk_window;

/* Elements of an input plane, output positions, taps of the kernel. */
static inline int64_t ntk_window_plane(const ntk_window *w) {
  return w->input[0] * w->input[1] * w->input[2];
}
static inline int64_t ntk_window_pixels(const ntk_window *w) {
  return w->output[0] * w->output[1] * w->output[2];
}
static inline int64_t ntk_window_taps(const ntk_window *w) {
  return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

/* One output position along one axis: the input index of tap 0 (it may lie in the padding)
 * and the taps low <= tap < high that fall inside the input. */
typedef struct ntk_span {
  int64_t start, low, high;
} ntk_span;

static inline ntk_span ntk_window_span(const ntk_window *w, int axis, int64_t position) {
  const int64_t start = position * w->stride[axis] - w->pad_begin[axis];
  const int64_t step = w->dilation[axis], last = w->input[axis] - 1 - start;
  ntk_span s = {start, start < 0 ? (-start + step - 1) / step : 0,
                last < 0 ? 0 : last / step + 1};
  if (s.high > w->kernel[axis])
    s.high = w->kernel[axis];
  if (s.low > s.high)
    s.low = s.high;
  return s;
}

#endif
