/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_CONV_PASS_H
#define NTK_OPS_CONV_PASS_H

#include "ops/dense.h"

/* A convolution and its adjoint are the same thing, a pass: each pixel written is a sum
 * over taps of pixels read. The adjoint of a strided convolution is one pass for each
 * residue class of the pixels it writes. Private to src/ops/conv*. */

/* Along one axis, output number j (it stands at place + j * stride) reads with tap number m
 * (kernel position tap + m * tap_step) the input at j * step + offset + m * delta, which is
 * zero outside of [0, input). */
typedef struct ntk_conv_axis {
  int64_t input, output; /* extents of what is read and of what is written */
  int64_t count, place, stride, step;
  int64_t taps, tap, tap_step, offset, delta;
} ntk_conv_axis;

typedef struct ntk_conv_pass {
  ntk_conv_axis axis[3];
  int64_t groups, read, written; /* channels of one group */
  int64_t w_read, w_written;     /* strides of the weights along these */
  int64_t w_tap[3];              /* ... and along the positions of the kernel */
  int64_t w_group;
  int64_t K; /* read * taps of this pass */
} ntk_conv_pass;

/* Work is cut into tasks: some images, or a band of rows of one image, in one group. A task
 * does all passes while its pixels are in cache. */
typedef struct ntk_conv_cut {
  int axis; /* of the bands */
  int64_t band, bands, images;
} ntk_conv_cut;

/* Number of passes, pass number i, and the tasks. */
int64_t ntk_conv_passes(const ntk_conv *conv, bool adjoint);
ntk_conv_pass ntk_conv_pass_at(const ntk_conv *conv, bool adjoint, int64_t i);
ntk_conv_cut ntk_conv_cut_of(const ntk_conv *conv, bool adjoint);

/* The part of an axis that `count` outputs from `first` on read, with its padding. */
typedef struct ntk_conv_range {
  int64_t low, extent;
} ntk_conv_range;
ntk_conv_range ntk_conv_reads(const ntk_conv_axis *axis, int64_t first, int64_t count);

enum {
  NTK_CONV_CHAIN = 512,  /* terms of a sum before it is added to memory */
  NTK_CONV_COLUMNS = 48, /* most columns of a panel, in both types */
  NTK_CONV_ROWS = 8      /* weights are packed for so many rows at once */
};
/* Elements of the packed weights of a pass. */
int64_t ntk_conv_packed_elements(const ntk_conv_pass *pass);

/* A thread's memory in elements: the padded input of a task, a panel of patches, its
 * product, all multiples of 16, with room for reading and writing behind the ends. */
typedef struct ntk_conv_areas {
  int64_t padded, panel, product;
} ntk_conv_areas;
ntk_conv_areas ntk_conv_areas_of(const ntk_conv *conv, bool adjoint);

/* Y[p, q] (+)= conv(X[p, q], w), or X[p, q] (+)= its adjoint at Y[p, q]: from `from` to
 * `to`. work: what ntk_conv_pass_scratch says. */
void ntk_conv_apply_f32(const ntk_conv *conv, bool adjoint, int64_t p, int64_t q,
                        ntk_array from, const float *w, ntk_array to, bool add, void *work);
void ntk_conv_apply_f64(const ntk_conv *conv, bool adjoint, int64_t p, int64_t q,
                        ntk_array from, const double *w, ntk_array to, bool add,
                        void *work);
/* Elements of work, for all threads. */
int64_t ntk_conv_pass_scratch(const ntk_conv *conv);

#endif
