/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/elements.h"
#include "base/memory.h"
#include "base/text.h"
#include "onnx/tensors.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 64 };

/* ---- external data --------------------------------------------------------------------
 */

/* Absolute path of a tensor's external file, checked to lie inside the folder. */
static ntk_status external_path(const Onnx__TensorProto *proto, const char *folder,
                                char **path) {
  ntk_status status = NTK_SUCCESS;
  ntk_text joined = {0};
  char *real = NULL, *root = NULL;
  const char *name = ntk_onnx_name(proto);
  const char *location = ntk_onnx_external_entry(proto, "location");
  NTK_REQUIRE(folder, NTK_ERR_UNSUPPORTED,
              "tensor '%s': external data cannot be read for a model in memory", name);
  NTK_REQUIRE(location && *location, NTK_ERR_FORMAT,
              "tensor '%s': external data without a location", name);
  NTK_REQUIRE(location[0] != '/' && !strstr(location, ".."), NTK_ERR_FORMAT,
              "tensor '%s': external data '%s' lie outside the model's folder", name,
              location);
  NTK_TRY(ntk_text_add(&joined, "%s/%s", folder, location));
  root = realpath(folder, NULL);
  real = realpath(joined.data, NULL);
  NTK_REQUIRE(root && real, NTK_ERR_FILE, "%s: external data cannot be read: %s",
              joined.data, strerror(errno));
  const size_t length = strlen(root);
  NTK_REQUIRE(strncmp(real, root, length) == 0 && (real[length] == '/' || length == 1),
              NTK_ERR_FORMAT,
              "tensor '%s': external data '%s' lie outside the model's folder", name,
              location);
  NTK_TRY(ntk_strdup(real, path));
done:
  free(real);
  free(root);
  ntk_text_clear(&joined);
  return status;
}

/* Is it a weight in a file that is not there? Integers are shapes and indices, which cannot
 * be made up. */
static bool is_absent(const Onnx__TensorProto *proto, const char *folder,
                      const ntk_piece *piece, ntk_dtype dtype) {
  const char *location = ntk_onnx_external_entry(proto, "location");
  ntk_text path = {0};
  if (!ntk_dtype_is_real(dtype) || piece->count == 0 || !folder || !location)
    return false;
  const bool absent = ntk_text_add(&path, "%s/%s", folder, location) == NTK_SUCCESS &&
                      access(path.data, F_OK) != 0;
  ntk_text_clear(&path);
  return absent;
}

/* So small that products of tensors do not grow. */
static double size_to_make_up(const ntk_shape *shape, int64_t count) {
  const int64_t rows = shape->ndim > 1 ? shape->dim[0] : 1;
  const int64_t columns = shape->ndim > 1 ? count / rows : 1;
  return 1 / (double)(rows > columns ? rows : columns);
}

/* A number that is not negative; *value stays where the entry is missing. */
static ntk_status external_number(const Onnx__TensorProto *proto, const char *key,
                                  int64_t *value) {
  const char *text = ntk_onnx_external_entry(proto, key);
  char *end;
  if (!text)
    return NTK_SUCCESS;
  errno = 0;
  *value = strtoll(text, &end, 10);
  if (end == text || *end || errno != 0 || *value < 0)
    return ntk_fail(NTK_ERR_FORMAT, "tensor '%s': external data with the %s '%s'",
                    ntk_onnx_name(proto), key, text);
  return NTK_SUCCESS;
}

static ntk_status find_external(const Onnx__TensorProto *proto, const char *folder,
                                ntk_piece *piece) {
  ntk_status status = NTK_SUCCESS;
  FILE *file = NULL;
  int64_t length = piece->bytes, size;
  NTK_TRY(external_number(proto, "offset", &piece->from));
  NTK_TRY(external_number(proto, "length", &length));
  NTK_TRY(external_path(proto, folder, &piece->path));
  NTK_REQUIRE(length == piece->bytes, NTK_ERR_FORMAT,
              "tensor '%s': external data of another length than its shape",
              ntk_onnx_name(proto));
  NTK_TRY(ntk_file_open(piece->path, &file, &size));
  NTK_REQUIRE(size >= piece->from && size - piece->from >= piece->bytes, NTK_ERR_FORMAT,
              "%s: too short for tensor '%s'", piece->path, ntk_onnx_name(proto));
done:
  if (file)
    (void)fclose(file);
  return status;
}

/* ---- finding --------------------------------------------------------------------------
 */

/* Compared before anything of this size is allocated. */
static ntk_status find_inside(const Onnx__TensorProto *proto, const ntk_payload *payload,
                              ntk_piece *piece) {
  if (payload->raw_at >= 0) {
    if (payload->raw_bytes != piece->bytes)
      return ntk_fail(NTK_ERR_FORMAT, "tensor '%s': %lld bytes of data for %lld elements",
                      ntk_onnx_name(proto), (long long)payload->raw_bytes,
                      (long long)piece->count);
    piece->from = payload->raw_at;
    return NTK_SUCCESS;
  }
  if (piece->count > payload->message_bytes) /* each takes a byte or more */
    return ntk_fail(NTK_ERR_FORMAT, "tensor '%s': its data do not have %lld elements",
                    ntk_onnx_name(proto), (long long)piece->count);
  piece->is_typed = true;
  piece->from = payload->message_at;
  piece->bytes = payload->message_bytes;
  return NTK_SUCCESS;
}

/* Room for one more: doubles at each power of two. */
static ntk_status grow(ntk_elements *e) {
  if (e->count > 0 && (e->count & (e->count - 1)) != 0)
    return NTK_SUCCESS;
  return ntk_realloc(NTK_MEMORY_GENERAL, e->count > 0 ? 2 * (int64_t)e->count : 1,
                     sizeof *e->pieces, &e->pieces);
}

ntk_status ntk_elements_add(ntk_elements *e, const Onnx__TensorProto *proto,
                            const ntk_payload *payload, const char *folder, int64_t *at,
                            int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  ntk_piece piece = {.type = proto->data_type, .at = e->bytes};
  ntk_shape shape = {0};
  ntk_dtype dtype;
  *at = -1;
  if (ntk_onnx_dtype(proto->data_type, ntk_onnx_name(proto), &dtype) != NTK_SUCCESS ||
      ntk_onnx_shape(proto, &shape) != NTK_SUCCESS)
    return NTK_SUCCESS;
  piece.count = ntk_shape_size(&shape);
  NTK_REQUIRE(piece.count < INT64_MAX / 32, NTK_ERR_FORMAT,
              "tensor '%s' has too many elements", ntk_onnx_name(proto));
  piece.bytes = piece.count * ntk_onnx_width(proto->data_type, dtype);
  if (!ntk_onnx_is_external(proto))
    NTK_TRY(find_inside(proto, payload, &piece));
  else if (e->may_be_absent && is_absent(proto, folder, &piece, dtype))
    piece.made_up = size_to_make_up(&shape, piece.count);
  else
    NTK_TRY(find_external(proto, folder, &piece));
  NTK_TRY(grow(e));
  e->lacks_weights = e->lacks_weights || piece.made_up > 0;
  *at = piece.at;
  *bytes = piece.count * (int64_t)ntk_dtype_bytes(dtype);
  e->bytes += (*bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  e->pieces[e->count++] = piece;
  piece.path = NULL;
done:
  ntk_free(&piece.path);
  return status;
}

/* ---- reading --------------------------------------------------------------------------
 */

static ntk_status read_bytes(FILE *file, const char *path, int64_t from, int64_t bytes,
                             char *to) {
  if (fseeko(file, (off_t)from, SEEK_SET) != 0 ||
      fread(to, 1, (size_t)bytes, file) != (size_t)bytes)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be read", path);
  return NTK_SUCCESS;
}

/* Elements in a field of their type are unpacked, one tensor at a time. */
static ntk_status read_typed(const ntk_piece *p, FILE *file, const char *path, char *to) {
  ntk_status status = NTK_SUCCESS;
  char *bytes = NULL;
  Onnx__TensorProto *proto = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, p->bytes, 1, &bytes));
  NTK_TRY(read_bytes(file, path, p->from, p->bytes, bytes));
  proto = onnx__tensor_proto__unpack(NULL, (size_t)p->bytes, (const uint8_t *)bytes);
  NTK_REQUIRE(proto, NTK_ERR_FORMAT, "%s: not an ONNX model: it cannot be unpacked", path);
  NTK_TRY(ntk_onnx_elements(proto, p->count, to));
done:
  if (proto)
    onnx__tensor_proto__free_unpacked(proto, NULL);
  ntk_free(&bytes);
  return status;
}

/* Positive, not all equal. */
static void make_up(const ntk_piece *p, char *to) {
  const bool is_double = p->type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
  for (int64_t i = 0; i < p->count; i++) {
    const double value = p->made_up * (0.5 + (double)(i % 97) / 97);
    if (is_double)
      ((double *)(void *)to)[i] = value;
    else
      ((float *)(void *)to)[i] = (float)value;
  }
}

/* Halves are read into the back half of their place and widened from its front. */
static ntk_status read_piece(const ntk_piece *p, FILE *file, const char *path, char *to) {
  if (p->made_up > 0) {
    make_up(p, to);
    return NTK_SUCCESS;
  }
  if (p->is_typed)
    return read_typed(p, file, path, to);
  const bool is_half = ntk_onnx_is_half(p->type);
  char *raw = is_half ? to + p->bytes : to;
  const ntk_status status = read_bytes(file, path, p->from, p->bytes, raw);
  if (status == NTK_SUCCESS && is_half)
    ntk_onnx_widen(p->type, raw, to, p->count);
  return status;
}

ntk_status ntk_elements_read(const ntk_elements *e, FILE *model, const char *path,
                             char *block) {
  ntk_status status = NTK_SUCCESS;
  FILE *file = NULL; /* of external data, kept open over the tensors that it holds */
  const char *open_path = NULL;
  for (int i = 0; i < e->count; i++) {
    const ntk_piece *p = &e->pieces[i];
    if (p->path && (!open_path || strcmp(p->path, open_path) != 0)) {
      int64_t size;
      if (file)
        (void)fclose(file);
      file = NULL;
      NTK_TRY(ntk_file_open(p->path, &file, &size));
      open_path = p->path;
    }
    NTK_TRY(read_piece(p, p->path ? file : model, p->path ? p->path : path, block + p->at));
  }
done:
  if (file)
    (void)fclose(file);
  return status;
}

void ntk_elements_clear(ntk_elements *e) {
  for (int i = 0; i < e->count; i++)
    ntk_free(&e->pieces[i].path);
  ntk_free(&e->pieces);
  *e = (ntk_elements){0};
}
