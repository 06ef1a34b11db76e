/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/tensors.h"
#include "tensor/half.h"
#include <stdio.h>
#include <string.h>

const char *ntk_onnx_name(const Onnx__TensorProto *proto) {
  return proto->name ? proto->name : "(unnamed)";
}

ntk_status ntk_onnx_dtype(int onnx, const char *name, ntk_dtype *out) {
  /* element types of ONNX IR 10 by number */
  static const struct {
    const char *name;
    int dtype;
  } types[] = {{"undefined", -1},      {"float", NTK_F32},    {"uint8", NTK_U8},
               {"int8", NTK_I8},       {"uint16", NTK_U16},   {"int16", NTK_I16},
               {"int32", NTK_I32},     {"int64", NTK_I64},    {"string", -1},
               {"bool", NTK_BOOL},     {"float16", NTK_F32},  {"double", NTK_F64},
               {"uint32", NTK_U32},    {"uint64", NTK_U64},   {"complex64", -1},
               {"complex128", -1},     {"bfloat16", NTK_F32}, {"float8e4m3fn", -1},
               {"float8e4m3fnuz", -1}, {"float8e5m2", -1},    {"float8e5m2fnuz", -1},
               {"uint4", -1},          {"int4", -1},          {"float4e2m1", -1},
               {"float8e8m0", -1}};
  const int count = (int)(sizeof types / sizeof *types);
  if (onnx < 0 || onnx >= count)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "'%s': element type number %d is not known", name,
                    onnx);
  if (types[onnx].dtype < 0)
    return ntk_fail(NTK_ERR_UNSUPPORTED, "'%s': element type %s is not supported", name,
                    types[onnx].name);
  *out = (ntk_dtype)types[onnx].dtype;
  return NTK_SUCCESS;
}

ntk_status ntk_onnx_shape(const Onnx__TensorProto *proto, ntk_shape *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(proto->n_dims <= NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED,
              "tensor '%s' has %zu axes; %d are supported", ntk_onnx_name(proto),
              proto->n_dims, NTK_MAX_DIMS);
  out->ndim = (int)proto->n_dims;
  for (int i = 0; i < out->ndim; i++) {
    NTK_REQUIRE(proto->dims[i] >= 0, NTK_ERR_FORMAT, "tensor '%s' has a negative size",
                ntk_onnx_name(proto));
    out->dim[i] = proto->dims[i];
  }
done:
  return status;
}

bool ntk_onnx_is_external(const Onnx__TensorProto *proto) {
  return proto->has_data_location &&
         proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* The last of this key: ours, where the file has one too. */
const char *ntk_onnx_external_entry(const Onnx__TensorProto *proto, const char *key) {
  for (size_t i = proto->n_external_data; i-- > 0;)
    if (proto->external_data[i]->key && strcmp(proto->external_data[i]->key, key) == 0)
      return proto->external_data[i]->value;
  return NULL;
}

/* ---- elements -------------------------------------------------------------------------
 */

static ntk_half half_of(int type) {
  return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16    ? NTK_F16
         : type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 ? NTK_BF16
                                                           : NTK_NO_HALF;
}

bool ntk_onnx_is_half(int type) { return half_of(type) != NTK_NO_HALF; }

void ntk_onnx_widen(int type, const char *raw, void *out, int64_t n) {
  ntk_half_widen(half_of(type), raw, out, n);
}

int64_t ntk_onnx_width(int type, ntk_dtype dtype) {
  return ntk_onnx_is_half(type) ? 2 : (int64_t)ntk_dtype_bytes(dtype);
}

/* Little-endian bytes of the file's own type. */
static void copy_raw(int type, const char *raw, ntk_dtype dtype, void *out, int64_t n) {
  if (ntk_onnx_is_half(type))
    ntk_onnx_widen(type, raw, out, n);
  else if (n)
    memcpy(out, raw, (size_t)n * ntk_dtype_bytes(dtype));
}

/* Elements in the typed field of the type; int32_data holds all small integers, and halves
 * as their bits. */
static size_t typed_count(const Onnx__TensorProto *p) {
  switch (p->data_type) {
  case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    return p->n_float_data;
  case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
    return p->n_double_data;
  case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
    return p->n_int64_data;
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
    return p->n_uint64_data;
  default:
    return p->n_int32_data;
  }
}

static void copy_typed(const Onnx__TensorProto *p, ntk_dtype dtype, void *out, int64_t n) {
  switch (p->data_type) {
  case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    ntk_convert(NTK_F32, p->float_data, dtype, out, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
    ntk_convert(NTK_F64, p->double_data, dtype, out, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
    ntk_convert(NTK_I64, p->int64_data, dtype, out, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
    ntk_convert(NTK_U64, p->uint64_data, dtype, out, n);
    break;
  default:
    if (!ntk_onnx_is_half(p->data_type))
      ntk_convert(NTK_I32, p->int32_data, dtype, out, n);
    else
      for (int64_t i = 0; i < n; i++)
        ((float *)out)[i] =
            ntk_half_value(half_of(p->data_type), (uint16_t)p->int32_data[i]);
  }
}

static ntk_status check_count(const Onnx__TensorProto *proto, ntk_dtype dtype, int64_t n) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(n < INT64_MAX / 16, NTK_ERR_FORMAT, "tensor '%s' has too many elements",
              ntk_onnx_name(proto));
  if (proto->has_raw_data)
    NTK_REQUIRE((int64_t)proto->raw_data.len == n * ntk_onnx_width(proto->data_type, dtype),
                NTK_ERR_FORMAT, "tensor '%s': %zu bytes of data for %lld elements",
                ntk_onnx_name(proto), proto->raw_data.len, (long long)n);
  else
    NTK_REQUIRE((int64_t)typed_count(proto) == n, NTK_ERR_FORMAT,
                "tensor '%s': its data do not have %lld elements", ntk_onnx_name(proto),
                (long long)n);
done:
  return status;
}

ntk_status ntk_onnx_elements(const Onnx__TensorProto *proto, int64_t n, void *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_dtype dtype = NTK_F32;
  NTK_TRY(ntk_onnx_dtype(proto->data_type, ntk_onnx_name(proto), &dtype));
  NTK_TRY(check_count(proto, dtype, n));
  if (proto->has_raw_data)
    copy_raw(proto->data_type, (const char *)proto->raw_data.data, dtype, out, n);
  else if (n > 0)
    copy_typed(proto, dtype, out, n);
done:
  return status;
}

/* No word of the file leads out of the block. */
static ntk_status borrow(const Onnx__TensorProto *proto, const ntk_shared *block,
                         ntk_dtype dtype, const ntk_shape *shape, ntk_tensor **out) {
  const char *place = ntk_onnx_external_entry(proto, NTK_ONNX_PLACE);
  const int64_t n = ntk_shape_size(shape);
  long long at = -1, bytes = -1;
  if (!place || sscanf(place, "%lld %lld", &at, &bytes) != 2 || at < 0 || bytes < 0 ||
      n > bytes || n * (int64_t)ntk_dtype_bytes(dtype) != bytes || bytes > block->bytes ||
      at > block->bytes - bytes)
    return ntk_fail(NTK_ERR_FORMAT, "tensor '%s': its parts do not fit",
                    ntk_onnx_name(proto));
  return ntk_tensor_borrow(dtype, shape, block->data + at, out);
}

ntk_status ntk_onnx_tensor(const Onnx__TensorProto *proto, const ntk_shared *block,
                           ntk_tensor **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *tensor = NULL;
  ntk_shape shape = {0};
  ntk_dtype dtype = NTK_F32;
  NTK_TRY(ntk_onnx_dtype(proto->data_type, ntk_onnx_name(proto), &dtype));
  NTK_TRY(ntk_onnx_shape(proto, &shape));
  if (proto->has_data_location && (int)proto->data_location == NTK_ONNX_IN_BLOCK)
    return borrow(proto, block, dtype, &shape, out);
  NTK_TRY(check_count(proto, dtype, ntk_shape_size(&shape))); /* before it is allocated */
  NTK_TRY(ntk_tensor_create(dtype, &shape, &tensor));
  NTK_TRY(ntk_onnx_elements(proto, ntk_shape_size(&shape), tensor->data));
  *out = tensor;
  tensor = NULL;
done:
  ntk_tensor_destroy(&tensor);
  return status;
}
