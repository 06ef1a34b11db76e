/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include "base/memory.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* X(dtype, C type, least, greatest), the bounds as int64. */
#define INTEGER_LIST(X)                                                                    \
  X(NTK_I64, int64_t, INT64_MIN, INT64_MAX)                                                \
  X(NTK_I32, int32_t, INT32_MIN, INT32_MAX)                                                \
  X(NTK_I16, int16_t, INT16_MIN, INT16_MAX)                                                \
  X(NTK_I8, int8_t, INT8_MIN, INT8_MAX)                                                    \
  X(NTK_U64, uint64_t, 0, INT64_MAX)                                                       \
  X(NTK_U32, uint32_t, 0, UINT32_MAX)                                                      \
  X(NTK_U16, uint16_t, 0, UINT16_MAX)                                                      \
  X(NTK_U8, uint8_t, 0, UINT8_MAX)

size_t ntk_dtype_bytes(ntk_dtype dtype) {
  static const size_t bytes[NTK_DTYPES] = {4, 8, 8, 4, 2, 1, 8, 4, 2, 1, 1};
  return bytes[dtype];
}

const char *ntk_dtype_name(ntk_dtype dtype) {
  static const char *const names[NTK_DTYPES] = {"f32", "f64", "i64", "i32", "i16", "i8",
                                                "u64", "u32", "u16", "u8",  "bool"};
  return names[dtype];
}

bool ntk_dtype_is_real(ntk_dtype dtype) { return dtype == NTK_F32 || dtype == NTK_F64; }

int64_t ntk_shape_size(const ntk_shape *shape) {
  int64_t size = 1;
  bool overflow = false;
  for (int i = 0; i < shape->ndim; i++) {
    if (shape->dim[i] == 0)
      return 0;
    overflow = overflow || __builtin_mul_overflow(size, shape->dim[i], &size);
  }
  return overflow ? INT64_MAX : size; /* what no allocation grants */
}

bool ntk_shape_equal(const ntk_shape *a, const ntk_shape *b) {
  return a->ndim == b->ndim &&
         memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof a->dim[0]) == 0;
}

const char *ntk_shape_text(const ntk_shape *shape, char buffer[NTK_SHAPE_TEXT]) {
  size_t used = 0;
  buffer[used++] = '[';
  for (int i = 0; i < shape->ndim; i++)
    used += (size_t)snprintf(buffer + used, NTK_SHAPE_TEXT - used, "%s%lld", i ? ", " : "",
                             (long long)shape->dim[i]);
  buffer[used++] = ']';
  buffer[used] = '\0';
  return buffer;
}

ntk_status ntk_shape_broadcast(const ntk_shape *a, const ntk_shape *b, ntk_shape *out) {
  ntk_shape shape = {.ndim = a->ndim > b->ndim ? a->ndim : b->ndim};
  for (int i = 1; i <= shape.ndim; i++) { /* from the right */
    const int64_t da = i <= a->ndim ? a->dim[a->ndim - i] : 1;
    const int64_t db = i <= b->ndim ? b->dim[b->ndim - i] : 1;
    if (da != db && da != 1 && db != 1) {
      char ta[NTK_SHAPE_TEXT], tb[NTK_SHAPE_TEXT];
      return ntk_fail(NTK_ERR_SHAPE, "shapes %s and %s do not broadcast",
                      ntk_shape_text(a, ta), ntk_shape_text(b, tb));
    }
    shape.dim[shape.ndim - i] = da == 1 ? db : da;
  }
  *out = shape;
  return NTK_SUCCESS;
}

void ntk_shape_strides(const ntk_shape *shape, int64_t stride[NTK_MAX_DIMS]) {
  int64_t step = 1;
  for (int i = shape->ndim - 1; i >= 0; i--) {
    stride[i] = step;
    step *= shape->dim[i];
  }
}

ntk_status ntk_tensor_borrow(ntk_dtype dtype, const ntk_shape *shape, void *data,
                             ntk_tensor **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, 1, sizeof **out, out));
  **out = (ntk_tensor){.dtype = dtype, .shape = *shape, .data = data, .is_borrowed = true};
done:
  return status;
}

ntk_status ntk_tensor_create(ntk_dtype dtype, const ntk_shape *shape, ntk_tensor **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *tensor = NULL;
  void *data = NULL;
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, ntk_shape_size(shape), ntk_dtype_bytes(dtype), &data));
  NTK_TRY(ntk_tensor_borrow(dtype, shape, data, &tensor));
  tensor->is_borrowed = false;
  *out = tensor;
  data = NULL;
done:
  ntk_free(&data);
  return status;
}

void ntk_tensor_destroy(ntk_tensor **tensor) {
  if (!*tensor)
    return;
  if (!(*tensor)->is_borrowed)
    ntk_free(&(*tensor)->data);
  ntk_free(tensor);
}

/* Conversion goes by pieces through doubles where a side is real, else through int64. */
enum { PIECE = 512 };

static void read_reals(ntk_dtype from, const void *src, int64_t first, int n, double *out) {
  switch (from) {
#define CASE(dtype, type)                                                                  \
  case dtype:                                                                              \
    for (int i = 0; i < n; i++)                                                            \
      out[i] = (double)((const type *)src)[first + i];                                     \
    break;
#define CASE_INTEGER(dtype, type, least, greatest) CASE(dtype, type)
    CASE(NTK_F32, float)
    CASE(NTK_F64, double)
    INTEGER_LIST(CASE_INTEGER)
  case NTK_BOOL:
    for (int i = 0; i < n; i++)
      out[i] = ((const uint8_t *)src)[first + i] != 0;
    break;
  case NTK_DTYPES:
    break;
#undef CASE
  }
}

static int64_t saturate(double value) {
  if (!(value == value))
    return 0;
  return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
}

static void read_integers(ntk_dtype from, const void *src, int64_t first, int n,
                          int64_t *out) {
  switch (from) {
#define CASE(dtype, type, least, greatest)                                                 \
  case dtype:                                                                              \
    for (int i = 0; i < n; i++) {                                                          \
      const int64_t value = (int64_t)((const type *)src)[first + i];                       \
      out[i] = dtype == NTK_U64 && value < 0 ? INT64_MAX : value;                          \
    }                                                                                      \
    break;
    INTEGER_LIST(CASE)
#undef CASE
  case NTK_BOOL:
    for (int i = 0; i < n; i++)
      out[i] = ((const uint8_t *)src)[first + i] != 0;
    break;
  default: { /* reals */
    double piece[PIECE] = {0};
    read_reals(from, src, first, n, piece);
    for (int i = 0; i < n; i++)
      out[i] = saturate(piece[i]);
  }
  }
}

static void write_reals(ntk_dtype to, void *dst, int64_t first, int n, const double *in) {
  if (to == NTK_F32)
    for (int i = 0; i < n; i++)
      ((float *)dst)[first + i] = (float)in[i];
  else
    for (int i = 0; i < n; i++)
      ((double *)dst)[first + i] = in[i];
}

static int64_t clamp(int64_t value, int64_t least, int64_t greatest) {
  return value < least ? least : value > greatest ? greatest : value;
}

static void write_integers(ntk_dtype to, void *dst, int64_t first, int n,
                           const int64_t *in) {
  switch (to) {
#define CASE(dtype, type, least, greatest)                                                 \
  case dtype:                                                                              \
    for (int i = 0; i < n; i++)                                                            \
      ((type *)dst)[first + i] = (type)clamp(in[i], least, greatest);                      \
    break;
    INTEGER_LIST(CASE)
#undef CASE
  default:
    break;
  }
}

/* What is not zero is true, also 0.5 and NaN. */
static void to_bool(ntk_dtype from, const void *src, uint8_t *dst, int64_t n) {
  double piece[PIECE] = {0};
  for (int64_t first = 0; first < n; first += PIECE) {
    const int count = (int)(n - first < PIECE ? n - first : PIECE);
    read_reals(from, src, first, count, piece);
    for (int i = 0; i < count; i++)
      dst[first + i] = piece[i] != 0;
  }
}

static void to_integers(ntk_dtype from, const void *src, ntk_dtype to, void *dst,
                        int64_t n) {
  int64_t piece[PIECE];
  for (int64_t first = 0; first < n; first += PIECE) {
    const int count = (int)(n - first < PIECE ? n - first : PIECE);
    read_integers(from, src, first, count, piece);
    write_integers(to, dst, first, count, piece);
  }
}

static void to_reals(ntk_dtype from, const void *src, ntk_dtype to, void *dst, int64_t n) {
  double piece[PIECE] = {0};
  for (int64_t first = 0; first < n; first += PIECE) {
    const int count = (int)(n - first < PIECE ? n - first : PIECE);
    read_reals(from, src, first, count, piece);
    write_reals(to, dst, first, count, piece);
  }
}

void ntk_convert(ntk_dtype from, const void *src, ntk_dtype to, void *dst, int64_t n) {
  if (from == to)
    memcpy(dst, src, (size_t)n * ntk_dtype_bytes(from));
  else if (to == NTK_BOOL)
    to_bool(from, src, dst, n);
  else if (ntk_dtype_is_real(to))
    to_reals(from, src, to, dst, n);
  else
    to_integers(from, src, to, dst, n);
}

double ntk_tensor_real(const ntk_tensor *tensor, int64_t i) {
  double value = 0;
  read_reals(tensor->dtype, tensor->data, i, 1, &value);
  return value;
}

int64_t ntk_tensor_int(const ntk_tensor *tensor, int64_t i) {
  int64_t value = 0;
  read_integers(tensor->dtype, tensor->data, i, 1, &value);
  return value;
}

/* A piece at a time, so that the inner loop has no exit and is vectorised. */
#define NONFINITE(name, type, greatest)                                                    \
  static int64_t name(const type *data, int64_t n) {                                       \
    for (int64_t first = 0; first < n; first += 4096) {                                    \
      const int64_t end = n - first < 4096 ? n : first + 4096;                             \
      int finite = 1;                                                                      \
      for (int64_t i = first; i < end; i++)                                                \
        finite &= data[i] <= greatest && data[i] >= -greatest;                             \
      for (int64_t i = first; !finite && i < end; i++)                                     \
        if (!isfinite(data[i]))                                                            \
          return i;                                                                        \
    }                                                                                      \
    return -1;                                                                             \
  }
NONFINITE(nonfinite_f32, float, FLT_MAX)
NONFINITE(nonfinite_f64, double, DBL_MAX)

int64_t ntk_find_nonfinite(ntk_dtype dtype, const void *data, int64_t n) {
  return dtype == NTK_F32 ? nonfinite_f32(data, n) : nonfinite_f64(data, n);
}
