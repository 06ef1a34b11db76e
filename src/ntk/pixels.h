/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_PIXELS_H
#define NTK_NTK_PIXELS_H

#include "tensor/tensor.h"
#include "tensor/window.h"

/* The Gram of a convolution's patches is a sum of shifted Grams of its input's pixels
 * (design section 4):
 *
 *     A[t, s] = sum over taps of P[stride t + tap, stride s + tap],
 *     P[i, j] = sum over channels of X[n, i] X[m, j].
 *
 * Both pixels of an entry have the same residue modulo the stride: pixels are kept by
 * residue class, channels last, and each class has a Gram of its own. Within a class a tap
 * is a shift of positions, and the shifts are taken axis by axis. Private to src/ntk. */
typedef struct ntk_pixel_class {
  int64_t residue[3], n[3]; /* pixels of the class along each axis */
  int64_t first, count;     /* in the order of classes */
} ntk_pixel_class;

static inline int64_t ntk_pixel_classes(const ntk_window *w) {
  return w->stride[0] * w->stride[1] * w->stride[2];
}
ntk_pixel_class ntk_pixel_class_at(const ntk_window *window, int64_t number);

/* Shift of tap k along an axis in units of positions of its class; false: another class. */
static inline bool ntk_pixel_shift(const ntk_window *w, int axis, int64_t k,
                                   int64_t residue, int64_t *shift) {
  const int64_t s = w->stride[axis], at = k * w->dilation[axis] - w->pad_begin[axis];
  const int64_t r = (at % s + s) % s;
  *shift = (at - r) / s;
  return r == residue;
}

/* Are Grams of pixels cheaper than those of patches? By operations alone. */
bool ntk_pixels_pay(const ntk_window *window, int64_t channels);

/* Elements of scratch of ntk_pixels_add. */
int64_t ntk_pixels_scratch(const ntk_window *window);

/* A[T, T] += the shifted sums of one class's Gram p[count, count] for a pair of samples. */
void ntk_pixels_add_f32(const ntk_window *window, const ntk_pixel_class *class,
                        const float *p, int64_t ldp, float *a, int64_t lda, float *scratch);
void ntk_pixels_add_f64(const ntk_window *window, const ntk_pixel_class *class,
                        const double *p, int64_t ldp, double *a, int64_t lda,
                        double *scratch);

/* Channels [channels, plane] of one sample to pixels by class, out[pixel, channel]. */
void ntk_pixels_keep_f32(const ntk_window *window, int64_t channels, double scale,
                         const float *x, float *out);
void ntk_pixels_keep_f64(const ntk_window *window, int64_t channels, double scale,
                         const double *x, double *out);

#endif
