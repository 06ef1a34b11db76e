/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/slim.h"
#include "base/memory.h"
#include "base/status.h"
#include "onnx/tensors.h"
#include <stddef.h>
#include <string.h>

enum { MAX_DEPTH = 100 };

/* Smaller tensors stay where they are. */
static const int64_t least_bytes = 4096;

/* The message-typed fields of ONNX; all other fields are copied by their length. */
typedef enum kind {
  MODEL,
  GRAPH,
  NODE,
  ATTRIBUTE,
  VALUE,
  TYPE,
  BOXED,
  FUNCTION,
  TRAINING,
  TENSOR,
  LEAF
} kind;
typedef struct field {
  kind in;
  uint32_t number;
  kind is;
} field;
static const field fields[] = {
    {MODEL, 7, GRAPH},        {MODEL, 14, LEAF},      {MODEL, 25, FUNCTION},
    {MODEL, 20, TRAINING},    {TRAINING, 1, GRAPH},   {TRAINING, 2, GRAPH},
    {MODEL, 8, LEAF},         {GRAPH, 1, NODE},       {GRAPH, 5, TENSOR},
    {GRAPH, 11, VALUE},       {GRAPH, 12, VALUE},     {GRAPH, 13, VALUE},
    {NODE, 5, ATTRIBUTE},     {ATTRIBUTE, 5, TENSOR}, {ATTRIBUTE, 6, GRAPH},
    {ATTRIBUTE, 10, LEAF},    {ATTRIBUTE, 11, GRAPH}, {ATTRIBUTE, 14, TYPE},
    {ATTRIBUTE, 15, TYPE},    {VALUE, 2, TYPE},       {TYPE, 1, LEAF},
    {TYPE, 4, BOXED},         {TYPE, 5, BOXED},       {TYPE, 9, BOXED},
    {BOXED, 1, TYPE},         {BOXED, 2, TYPE},       {FUNCTION, 7, NODE},
    {FUNCTION, 11, ATTRIBUTE}};

/* Fields of TensorProto: elements by type, raw ones; where they are. */
enum { RAW_DATA = 9, EXTERNAL_DATA = 13, DATA_LOCATION = 14 };
static bool holds_elements(uint64_t number) {
  return number == 4 || number == 5 || number == 7 || number == RAW_DATA || number == 10 ||
         number == 11;
}

typedef struct reader {
  const char *path, *folder;
  FILE *file;
  int64_t at;
  ntk_elements *elements;
} reader;

static ntk_status bad(const reader *r, const char *what) {
  return ntk_fail(NTK_ERR_FORMAT, "%s: not an ONNX model: %s at byte %lld", r->path, what,
                  (long long)r->at);
}

/* ---- bytes ----------------------------------------------------------------------------
 */

static ntk_status reserve(ntk_text *out, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  if (out->length + bytes > out->capacity) {
    const int64_t capacity = 2 * out->length + bytes + 64;
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, capacity, 1, &out->data));
    out->capacity = capacity;
  }
done:
  return status;
}

static ntk_status put(ntk_text *out, const void *bytes, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(reserve(out, count));
  if (count > 0)
    memcpy(out->data + out->length, bytes, (size_t)count);
  out->length += count;
done:
  return status;
}

static ntk_status put_varint(ntk_text *out, uint64_t value) {
  uint8_t bytes[10];
  int count = 0;
  for (; value >= 0x80; value >>= 7)
    bytes[count++] = (uint8_t)(value | 0x80);
  bytes[count++] = (uint8_t)value;
  return put(out, bytes, count);
}

static ntk_status put_message(ntk_text *out, const void *bytes, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(put_varint(out, (uint64_t)count));
  NTK_TRY(put(out, bytes, count));
done:
  return status;
}

static bool get_varint(reader *r, int64_t end, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && r->at < end; shift += 7) {
    const int byte = getc(r->file);
    if (byte == EOF)
      return false;
    r->at++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      return true;
  }
  return false;
}

static ntk_status get_tag(reader *r, int64_t end, uint64_t *tag) {
  return get_varint(r, end, tag) && *tag >> 3 != 0 ? NTK_SUCCESS
                                                   : bad(r, "a damaged field");
}

/* Bytes of the field behind a tag, its length read where it has one. */
static ntk_status get_length(reader *r, uint64_t tag, int64_t end, int64_t *bytes) {
  uint64_t value;
  switch (tag & 7) {
  case 1:
  case 5:
    value = (tag & 7) == 1 ? 8 : 4;
    break;
  case 2:
    if (!get_varint(r, end, &value))
      return bad(r, "a damaged length");
    break;
  default:
    return bad(r, "an unknown wire type");
  }
  if (value > (uint64_t)(end - r->at))
    return bad(r, "truncated");
  *bytes = (int64_t)value;
  return NTK_SUCCESS;
}

static ntk_status copy_bytes(reader *r, int64_t bytes, ntk_text *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(reserve(out, bytes));
  NTK_REQUIRE(fread(out->data + out->length, 1, (size_t)bytes, r->file) == (size_t)bytes,
              NTK_ERR_FILE, "%s: cannot be read to its end", r->path);
  out->length += bytes;
  r->at += bytes;
done:
  return status;
}

static ntk_status skip_bytes(reader *r, int64_t bytes) {
  if (fseeko(r->file, (off_t)bytes, SEEK_CUR) != 0)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be read to its end", r->path);
  r->at += bytes;
  return NTK_SUCCESS;
}

/* ---- messages -------------------------------------------------------------------------
 */

static const field *message_field(kind in, uint64_t number) {
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (fields[i].in == in && fields[i].number == number)
      return &fields[i];
  return NULL;
}

static ntk_status copy_message(reader *r, kind is, int64_t end, int depth, ntk_text *out);

static ntk_status copy_field(reader *r, kind in, uint64_t tag, int64_t end, int depth,
                             ntk_text *out) {
  ntk_status status = NTK_SUCCESS;
  const field *inner = (tag & 7) == 2 ? message_field(in, tag >> 3) : NULL;
  ntk_text content = {0};
  uint64_t value;
  int64_t bytes;
  NTK_TRY(put_varint(out, tag));
  if ((tag & 7) == 0) {
    NTK_TRY(get_varint(r, end, &value) ? NTK_SUCCESS : bad(r, "a damaged number"));
    NTK_TRY(put_varint(out, value));
    goto done;
  }
  NTK_TRY(get_length(r, tag, end, &bytes));
  if (inner) {
    NTK_TRY(copy_message(r, inner->is, r->at + bytes, depth + 1, &content));
    NTK_TRY(put_message(out, content.data, content.length));
    goto done;
  }
  if ((tag & 7) == 2)
    NTK_TRY(put_varint(out, (uint64_t)bytes));
  NTK_TRY(copy_bytes(r, bytes, out));
done:
  ntk_text_clear(&content);
  return status;
}

/* Passes over elements by type, and notes where raw ones are. */
static ntk_status pass_elements(reader *r, uint64_t tag, int64_t end,
                                ntk_payload *payload) {
  ntk_status status = NTK_SUCCESS;
  uint64_t value;
  int64_t bytes;
  if ((tag & 7) == 0)
    return get_varint(r, end, &value) ? NTK_SUCCESS : bad(r, "a damaged number");
  NTK_TRY(get_length(r, tag, end, &bytes));
  if (tag == (RAW_DATA << 3 | 2)) {
    payload->raw_at = r->at;
    payload->raw_bytes = bytes;
  }
  NTK_TRY(skip_bytes(r, bytes));
done:
  return status;
}

/* data_location and an entry of external data: where the elements are in the block. */
static ntk_status put_place(ntk_text *out, int64_t at, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  ntk_text entry = {0}, place = {0};
  NTK_TRY(ntk_text_add(&place, "%lld %lld", (long long)at, (long long)bytes));
  NTK_TRY(put_varint(&entry, 1 << 3 | 2));
  NTK_TRY(put_message(&entry, NTK_ONNX_PLACE, sizeof NTK_ONNX_PLACE - 1));
  NTK_TRY(put_varint(&entry, 2 << 3 | 2));
  NTK_TRY(put_message(&entry, place.data, place.length));
  NTK_TRY(put_varint(out, EXTERNAL_DATA << 3 | 2));
  NTK_TRY(put_message(out, entry.data, entry.length));
  NTK_TRY(put_varint(out, DATA_LOCATION << 3));
  NTK_TRY(put_varint(out, NTK_ONNX_IN_BLOCK));
done:
  ntk_text_clear(&entry);
  ntk_text_clear(&place);
  return status;
}

/* Gives the elements that the copy lacks a place, and external ones. */
static ntk_status place_elements(const reader *r, const ntk_payload *payload, bool lacks,
                                 ntk_text *out) {
  ntk_status status = NTK_SUCCESS;
  int64_t at = -1, bytes = 0;
  Onnx__TensorProto *proto =
      onnx__tensor_proto__unpack(NULL, (size_t)out->length, (const uint8_t *)out->data);
  NTK_REQUIRE(proto, NTK_ERR_FORMAT, "%s: not an ONNX model: it cannot be unpacked",
              r->path);
  NTK_REQUIRE(!proto->has_data_location || (int)proto->data_location == 0 ||
                  ntk_onnx_is_external(proto),
              NTK_ERR_FORMAT, "tensor '%s': its data are at an unknown location",
              ntk_onnx_name(proto));
  if (lacks || ntk_onnx_is_external(proto))
    NTK_TRY(ntk_elements_add(r->elements, proto, payload, r->folder, &at, &bytes));
  if (at >= 0)
    NTK_TRY(put_place(out, at, bytes));
done:
  if (proto)
    onnx__tensor_proto__free_unpacked(proto, NULL);
  return status;
}

static ntk_status copy_message(reader *r, kind is, int64_t end, int depth, ntk_text *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_payload payload = {r->at, end - r->at, -1, 0};
  const bool is_large = is == TENSOR && end - r->at >= least_bytes;
  bool lacks = false;
  uint64_t tag;
  NTK_TRY(depth > MAX_DEPTH ? bad(r, "messages nested more than 100 deep") : NTK_SUCCESS);
  while (r->at < end) {
    NTK_TRY(get_tag(r, end, &tag));
    if (is_large && holds_elements(tag >> 3)) {
      NTK_TRY(pass_elements(r, tag, end, &payload));
      lacks = true;
    } else {
      NTK_TRY(copy_field(r, is, tag, end, depth, out));
    }
  }
  if (is == TENSOR)
    NTK_TRY(place_elements(r, &payload, lacks, out));
done:
  return status;
}

ntk_status ntk_slim_read(FILE *file, int64_t size, const char *path, const char *folder,
                         ntk_text *bytes, ntk_elements *elements) {
  reader r = {.path = path, .folder = folder, .file = file, .elements = elements};
  if (size == 0)
    return ntk_fail(NTK_ERR_FORMAT, "%s: not an ONNX model: empty", path);
  return copy_message(&r, MODEL, size, 1, bytes);
}
