/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/raw.h"
#include <stdbool.h>
#include <stddef.h>

enum { MAX_DEPTH = 100 };

/* The message-typed fields of ONNX; all other fields are skipped by their length. */
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
    {MODEL, 8, LEAF},         {GRAPH, 1, NODE},       {GRAPH, 5, LEAF},
    {GRAPH, 11, VALUE},       {GRAPH, 12, VALUE},     {GRAPH, 13, VALUE},
    {NODE, 5, ATTRIBUTE},     {ATTRIBUTE, 5, LEAF},   {ATTRIBUTE, 6, GRAPH},
    {ATTRIBUTE, 10, LEAF},    {ATTRIBUTE, 11, GRAPH}, {ATTRIBUTE, 14, TYPE},
    {ATTRIBUTE, 15, TYPE},    {VALUE, 2, TYPE},       {TYPE, 1, LEAF},
    {TYPE, 4, BOXED},         {TYPE, 5, BOXED},       {TYPE, 9, BOXED},
    {BOXED, 1, TYPE},         {BOXED, 2, TYPE},       {FUNCTION, 7, NODE},
    {FUNCTION, 11, ATTRIBUTE}};

typedef struct reader {
  const char *path;
  const uint8_t *start, *at, *end;
} reader;

static ntk_status bad(const reader *r, const char *what) {
  return ntk_fail(NTK_ERR_FORMAT, "%s: not an ONNX model: %s at byte %lld", r->path, what,
                  (long long)(r->at - r->start));
}

static bool varint(reader *r, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
    const uint8_t byte = *r->at++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      return true;
  }
  return false;
}

static const field *message_field(kind in, uint64_t number) {
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (fields[i].in == in && fields[i].number == number)
      return &fields[i];
  return NULL;
}

static ntk_status walk(reader r, kind in, int depth) {
  uint64_t tag, value;
  if (depth > MAX_DEPTH)
    return bad(&r, "messages nested more than 100 deep");
  while (r.at < r.end) {
    if (!varint(&r, &tag) || tag >> 3 == 0)
      return bad(&r, "a damaged field");
    switch (tag & 7) {
    case 0:
      if (!varint(&r, &value))
        return bad(&r, "a damaged number");
      break;
    case 1:
    case 5: {
      const ptrdiff_t bytes = (tag & 7) == 1 ? 8 : 4;
      if (r.end - r.at < bytes)
        return bad(&r, "truncated");
      r.at += bytes;
      break;
    }
    case 2: {
      if (!varint(&r, &value))
        return bad(&r, "a damaged length");
      if (value > (uint64_t)(r.end - r.at))
        return bad(&r, "truncated");
      const field *inner = message_field(in, tag >> 3);
      const reader part = {r.path, r.start, r.at, r.at + value};
      if (inner) {
        const ntk_status status = walk(part, inner->is, depth + 1);
        if (status != NTK_SUCCESS)
          return status;
      }
      r.at += value;
      break;
    }
    default:
      return bad(&r, "an unknown wire type");
    }
  }
  return NTK_SUCCESS;
}

ntk_status ntk_raw_check(const char *path, const uint8_t *bytes, int64_t size) {
  const reader r = {path, bytes, bytes, bytes + size};
  if (size == 0)
    return ntk_fail(NTK_ERR_FORMAT, "%s: not an ONNX model: empty", path);
  return walk(r, MODEL, 1);
}
