/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TENSOR_TENSOR_H
#define NTK_TENSOR_TENSOR_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NTK_MAX_DIMS = 8 };

/* The first two are the types of computation. */
typedef enum ntk_dtype {
  NTK_F32,
  NTK_F64,
  NTK_I64,
  NTK_I32,
  NTK_I16,
  NTK_I8,
  NTK_U64,
  NTK_U32,
  NTK_U16,
  NTK_U8,
  NTK_BOOL,
  NTK_DTYPES
} ntk_dtype;
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

/* A dense row-major tensor that owns its elements. */
typedef struct ntk_tensor {
  ntk_dtype dtype;
  ntk_shape shape;
  void *data;
} ntk_tensor;
NTK_CHECKED ntk_status ntk_tensor_create(ntk_dtype dtype, const ntk_shape *shape,
                                         ntk_tensor **out); /* zeros */
void ntk_tensor_destroy(ntk_tensor **tensor);
/* Converts n elements; to integers it truncates towards zero and saturates. */
void ntk_convert(ntk_dtype from, const void *src, ntk_dtype to, void *dst, int64_t n);
/* Element i as a double / int64. */
double ntk_tensor_real(const ntk_tensor *tensor, int64_t i);
int64_t ntk_tensor_int(const ntk_tensor *tensor, int64_t i);
/* Index of the first NaN or infinity among n reals (f32 or f64), -1 where there is none. */
int64_t ntk_find_nonfinite(ntk_dtype dtype, const void *data, int64_t n);

#endif
