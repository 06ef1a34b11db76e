/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_REAL_H
#define NTK_TENSOR_REAL_H

/* One source, two types: files named *_real.c are compiled twice, with NTK_DOUBLE 0 and 1.
 * In them `real` is the type of computation and NTK_REAL(name) appends _f32 or _f64. */
#include "tensor/tensor.h"
#include "tensor/window.h"
#include <float.h>
#include <math.h>

#ifndef NTK_DOUBLE
#error "tensor/real.h is for files named *_real.c"
#endif
#if NTK_DOUBLE
typedef double real;
#define NTK_REAL(name) name##_f64
#define NTK_REAL_DTYPE NTK_F64
#define NTK_MATH(name) name /* NTK_MATH(exp)(x): exp or expf */
#define NTK_REAL_MAX DBL_MAX
#else
typedef float real;
#define NTK_REAL(name) name##_f32
#define NTK_REAL_DTYPE NTK_F32
#define NTK_MATH(name) name##f
#define NTK_REAL_MAX FLT_MAX
#endif

/* C[m,n] = alpha op(A) op(B) + beta C, row-major with leading dimensions (op: transpose
 * where the flag is set; op(A) is [m,k], op(B) [k,n]). Counts may exceed 2^31. Runs on the
 * threads of OpenMP when called outside a parallel region, on the caller's thread inside
 * one. beta = 0 does not read C. k = 0 scales C. */
void NTK_REAL(ntk_gemm)(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                        double alpha, const real *a, int64_t lda, const real *b,
                        int64_t ldb, double beta, real *c, int64_t ldc);

/* Patches of one sample's channels: x [channels, input pixels] ->
 *   pixel-major: out[t, (c, tap)], row stride ld_out   (X of design section 4)
 * with zeros in the padding. t runs over output pixels, tap over kernel positions. */
void NTK_REAL(ntk_im2col)(const ntk_window *window, int64_t channels, const real *x,
                          real *out, int64_t ld_out);
/* The same for `count` output pixels from `first` on: out[t - first, (c, tap)]. */
void NTK_REAL(ntk_im2col_part)(const ntk_window *window, int64_t channels, int64_t first,
                               int64_t count, const real *x, real *out, int64_t ld_out);
/* The adjoint: x[c, pixel] += sum of col[t, (c, tap)] that were read from it. */
void NTK_REAL(ntk_col2im_add_part)(const ntk_window *window, int64_t channels,
                                   int64_t first, int64_t count, const real *col,
                                   int64_t ld_col, real *x);

#endif
