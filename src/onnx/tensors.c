/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/tensors.h"
#include "base/memory.h"
#include "base/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *tensor_name(const Onnx__TensorProto *proto) {
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
              "tensor '%s' has %zu axes; %d are supported", tensor_name(proto),
              proto->n_dims, NTK_MAX_DIMS);
  out->ndim = (int)proto->n_dims;
  for (int i = 0; i < out->ndim; i++) {
    NTK_REQUIRE(proto->dims[i] >= 0, NTK_ERR_FORMAT, "tensor '%s' has a negative size",
                tensor_name(proto));
    out->dim[i] = proto->dims[i];
  }
done:
  return status;
}

/* ---- external data --------------------------------------------------------------------
 */

static const char *external_entry(const Onnx__TensorProto *proto, const char *key) {
  for (size_t i = 0; i < proto->n_external_data; i++)
    if (proto->external_data[i]->key && strcmp(proto->external_data[i]->key, key) == 0)
      return proto->external_data[i]->value;
  return NULL;
}

ntk_status ntk_onnx_external_path(const Onnx__TensorProto *proto, const char *folder,
                                  char **path) {
  ntk_status status = NTK_SUCCESS;
  ntk_text joined = {0};
  char *real = NULL, *root = NULL;
  const char *location = external_entry(proto, "location");
  NTK_REQUIRE(folder, NTK_ERR_UNSUPPORTED,
              "tensor '%s': external data cannot be read for a model in memory",
              tensor_name(proto));
  NTK_REQUIRE(location && *location, NTK_ERR_FORMAT,
              "tensor '%s': external data without a location", tensor_name(proto));
  NTK_REQUIRE(location[0] != '/' && !strstr(location, ".."), NTK_ERR_FORMAT,
              "tensor '%s': external data '%s' lie outside the model's folder",
              tensor_name(proto), location);
  NTK_TRY(ntk_text_add(&joined, "%s/%s", folder, location));
  root = realpath(folder, NULL);
  real = realpath(joined.data, NULL);
  NTK_REQUIRE(root && real, NTK_ERR_FILE, "%s: external data cannot be read: %s",
              joined.data, strerror(errno));
  const size_t length = strlen(root);
  NTK_REQUIRE(strncmp(real, root, length) == 0 && (real[length] == '/' || length == 1),
              NTK_ERR_FORMAT,
              "tensor '%s': external data '%s' lie outside the model's folder",
              tensor_name(proto), location);
  NTK_TRY(ntk_strdup(real, path));
done:
  free(real);
  free(root);
  ntk_text_clear(&joined);
  return status;
}

/* A number that is not negative; *value stays where the entry is missing. */
static ntk_status external_number(const Onnx__TensorProto *proto, const char *key,
                                  int64_t *value) {
  const char *text = external_entry(proto, key);
  char *end;
  if (!text)
    return NTK_SUCCESS;
  errno = 0;
  *value = strtoll(text, &end, 10);
  if (end == text || *end || errno != 0 || *value < 0)
    return ntk_fail(NTK_ERR_FORMAT, "tensor '%s': external data with the %s '%s'",
                    tensor_name(proto), key, text);
  return NTK_SUCCESS;
}

static ntk_status read_external(const Onnx__TensorProto *proto, const char *folder,
                                int64_t bytes, char **out) {
  ntk_status status = NTK_SUCCESS;
  char *path = NULL, *data = NULL;
  FILE *file = NULL;
  struct stat info;
  int64_t offset = 0, length = bytes;
  NTK_TRY(external_number(proto, "offset", &offset));
  NTK_TRY(external_number(proto, "length", &length));
  NTK_TRY(ntk_onnx_external_path(proto, folder, &path));
  NTK_REQUIRE(length == bytes, NTK_ERR_FORMAT,
              "tensor '%s': external data of another length than its shape",
              tensor_name(proto));
  NTK_REQUIRE(stat(path, &info) == 0 && S_ISREG(info.st_mode), NTK_ERR_FILE,
              "%s: cannot be read: not a regular file", path);
  NTK_REQUIRE(info.st_size >= offset && info.st_size - offset >= bytes, NTK_ERR_FORMAT,
              "%s: too short for tensor '%s'", path, tensor_name(proto));
  file = fopen(path, "rb");
  NTK_REQUIRE(file, NTK_ERR_FILE, "%s: cannot be read: %s", path, strerror(errno));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, bytes, 1, &data));
  NTK_REQUIRE(fseeko(file, (off_t)offset, SEEK_SET) == 0 &&
                  fread(data, 1, (size_t)bytes, file) == (size_t)bytes,
              NTK_ERR_FILE, "%s: cannot be read", path);
  *out = data;
  data = NULL;
done:
  if (file)
    (void)fclose(file);
  ntk_free(&data);
  ntk_free(&path);
  return status;
}

/* ---- elements -------------------------------------------------------------------------
 */

static float widen_f16(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
  int exponent = h >> 10 & 31;
  uint32_t fraction = h & 1023, bits;
  float value;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | fraction << 13;
  } else if (exponent == 0 && fraction == 0) {
    bits = sign;
  } else {
    if (exponent == 0) { /* subnormal: shift until the leading one is implicit */
      exponent = 1;
      while (!(fraction & 1024)) {
        fraction <<= 1;
        exponent--;
      }
      fraction &= 1023;
    }
    bits = sign | (uint32_t)(exponent + 112) << 23 | fraction << 13;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float widen_bf16(uint16_t h) {
  const uint32_t bits = (uint32_t)h << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static bool is_half(int type) {
  return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
         type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
}

static float widen(int type, uint16_t bits) {
  return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ? widen_f16(bits)
                                                        : widen_bf16(bits);
}

/* Little-endian bytes of the file's own type. */
static void copy_raw(int type, const char *raw, ntk_tensor *t, int64_t n) {
  if (!is_half(type)) {
    if (n)
      memcpy(t->data, raw, (size_t)n * ntk_dtype_bytes(t->dtype));
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    uint16_t bits;
    memcpy(&bits, raw + 2 * i, sizeof bits);
    ((float *)t->data)[i] = widen(type, bits);
  }
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

static void copy_typed(const Onnx__TensorProto *p, ntk_tensor *t, int64_t n) {
  switch (p->data_type) {
  case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    ntk_convert(NTK_F32, p->float_data, t->dtype, t->data, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
    ntk_convert(NTK_F64, p->double_data, t->dtype, t->data, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
    ntk_convert(NTK_I64, p->int64_data, t->dtype, t->data, n);
    break;
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
  case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
    ntk_convert(NTK_U64, p->uint64_data, t->dtype, t->data, n);
    break;
  default:
    if (!is_half(p->data_type))
      ntk_convert(NTK_I32, p->int32_data, t->dtype, t->data, n);
    else
      for (int64_t i = 0; i < n; i++)
        ((float *)t->data)[i] = widen(p->data_type, (uint16_t)p->int32_data[i]);
  }
}

ntk_status ntk_onnx_tensor(const Onnx__TensorProto *proto, const char *folder,
                           ntk_tensor **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *tensor = NULL;
  ntk_shape shape = {0};
  ntk_dtype dtype = NTK_F32;
  char *external = NULL;
  NTK_TRY(ntk_onnx_dtype(proto->data_type, tensor_name(proto), &dtype));
  NTK_TRY(ntk_onnx_shape(proto, &shape));
  const int64_t n = ntk_shape_size(&shape);
  const int64_t width = is_half(proto->data_type) ? 2 : (int64_t)ntk_dtype_bytes(dtype);
  const bool is_external = proto->has_data_location && proto->data_location == 1;
  NTK_REQUIRE(n < INT64_MAX / 16, NTK_ERR_FORMAT, "tensor '%s' has too many elements",
              tensor_name(proto));
  /* compared before anything of this size is allocated */
  if (is_external)
    NTK_TRY(read_external(proto, folder, n * width, &external));
  else if (proto->has_raw_data)
    NTK_REQUIRE((int64_t)proto->raw_data.len == n * width, NTK_ERR_FORMAT,
                "tensor '%s': %zu bytes of data for %lld elements", tensor_name(proto),
                proto->raw_data.len, (long long)n);
  else
    NTK_REQUIRE((int64_t)typed_count(proto) == n, NTK_ERR_FORMAT,
                "tensor '%s': its data do not have %lld elements", tensor_name(proto),
                (long long)n);
  NTK_TRY(ntk_tensor_create(dtype, &shape, &tensor));
  if (is_external)
    copy_raw(proto->data_type, external, tensor, n);
  else if (proto->has_raw_data)
    copy_raw(proto->data_type, (const char *)proto->raw_data.data, tensor, n);
  else if (n > 0)
    copy_typed(proto, tensor, n);
  *out = tensor;
  tensor = NULL;
done:
  ntk_free(&external);
  ntk_tensor_destroy(&tensor);
  return status;
}
