/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_TENSOR_H
#define NTK_TENSOR_TENSOR_H

#include "base/status.h"
#include <scantk/dtype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NTK_MAX_DIMS = 8 };

size_t ntk_dtype_bytes(ntk_dtype dtype);
const char *ntk_dtype_name(ntk_dtype dtype); /* "f32", "i64", ... */
bool ntk_dtype_is_real(ntk_dtype dtype);     /* f32 or f64 */

typedef struct ntk_shape {
  int ndim;
  int64_t dim[NTK_MAX_DIMS];
} ntk_shape;
int64_t ntk_shape_size(const ntk_shape *shape); /* product; 1 for a scalar */
bool ntk_shape_equal(const ntk_shape *a, const ntk_shape *b);
/* "[1, 3, 32, 32]" into buffer; returns buffer. */
enum { NTK_SHAPE_TEXT = 192 };
const char *ntk_shape_text(const ntk_shape *shape, char buffer[NTK_SHAPE_TEXT]);
/* NumPy broadcasting; NTK_ERR_SHAPE. */
NTK_CHECKED ntk_status ntk_shape_broadcast(const ntk_shape *a, const ntk_shape *b,
                                           ntk_shape *out);
/* Row-major strides in elements. */
void ntk_shape_strides(const ntk_shape *shape, int64_t stride[NTK_MAX_DIMS]);

/* A dense row-major tensor. */
typedef struct ntk_tensor {
  ntk_dtype dtype;
  ntk_shape shape;
  void *data;
  bool is_borrowed; /* the elements are another's, to be read only; else its own */
} ntk_tensor;
NTK_CHECKED ntk_status ntk_tensor_create(ntk_dtype dtype, const ntk_shape *shape,
                                         ntk_tensor **out); /* zeros */
/* The same with elements that stand elsewhere and outlive it. */
NTK_CHECKED ntk_status ntk_tensor_borrow(ntk_dtype dtype, const ntk_shape *shape,
                                         void *data, ntk_tensor **out);
void ntk_tensor_destroy(ntk_tensor **tensor);
/* Converts n elements; to integers it truncates towards zero and saturates. */
void ntk_convert(ntk_dtype from, const void *src, ntk_dtype to, void *dst, int64_t n);
/* Element i as a double / int64. */
double ntk_tensor_real(const ntk_tensor *tensor, int64_t i);
int64_t ntk_tensor_int(const ntk_tensor *tensor, int64_t i);
/* Index of the first NaN or infinity among n reals (f32 or f64), -1 where there is none. */
int64_t ntk_find_nonfinite(ntk_dtype dtype, const void *data, int64_t n);

#endif
