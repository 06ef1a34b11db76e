/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: the length of a header in 8 bytes, the header, JSON: {"name": {"dtype":
 * "F32", "shape": [2, 3], "data_offsets": [first, end]}, "__metadata__": {...}}; the
 * elements, little-endian. */
#include "base/memory.h"
#include "base/text.h"
#include "io/checkpoint.h"
#include <stdlib.h>
#include <string.h>

static const int64_t MOST_HEADER = 100000000; /* as its own library has it */

typedef struct reader {
  ntk_checkpoint *checkpoint;
  char *at;        /* in the header, which ends with a NUL */
  int64_t start;   /* of the elements in the file */
  int64_t payload; /* bytes of them */
} reader;

static ntk_status damaged(const reader *r, const char *what) {
  return ntk_fail(NTK_ERR_FORMAT, "%s: damaged: %s in its header", r->checkpoint->path,
                  what);
}

/* ---- JSON, as much as is needed -------------------------------------------------------
 */

static void skip_blanks(reader *r) { r->at += strspn(r->at, " \t\r\n"); }

/* Takes the letter, if it is next. */
static bool take(reader *r, char letter) {
  skip_blanks(r);
  const bool is_next = *r->at == letter;
  r->at += is_next;
  return is_next;
}

/* A string, its escapes resolved in place. */
static ntk_status take_string(reader *r, char **out) {
  if (!take(r, '"'))
    return damaged(r, "no name");
  *out = r->at;
  return ntk_json_string(&r->at) ? NTK_SUCCESS : damaged(r, "a string that does not end");
}

/* "[1, 2]"; more than `most`: refused. */
static ntk_status take_numbers(reader *r, int most, int64_t *numbers, int *count) {
  ntk_status status = NTK_SUCCESS;
  *count = 0;
  if (!take(r, '['))
    NTK_TRY(damaged(r, "no list"));
  while (!take(r, ']')) {
    char *rest;
    if (*count > 0 && !take(r, ','))
      NTK_TRY(damaged(r, "a broken list"));
    const long long value = strtoll(r->at, &rest, 10);
    if (rest == r->at || value < 0 || *count == most)
      NTK_TRY(damaged(r, "a bad list of numbers"));
    numbers[(*count)++] = value;
    r->at = rest;
  }
done:
  return status;
}

/* Goes past a value whose meaning does not matter: metadata are strings by name. */
static ntk_status skip_value(reader *r) {
  ntk_status status = NTK_SUCCESS;
  int depth = 0;
  do {
    char *word;
    skip_blanks(r);
    if (!*r->at)
      NTK_TRY(damaged(r, "an end too early"));
    if (*r->at == '"') {
      NTK_TRY(take_string(r, &word));
      continue;
    }
    depth += *r->at == '{' || *r->at == '[';
    depth -= *r->at == '}' || *r->at == ']';
    r->at++;
  } while (depth > 0);
done:
  return status;
}

/* ---- tensors --------------------------------------------------------------------------
 */

static ntk_status set_type(const reader *r, const char *type, ntk_named_array *a) {
  static const struct {
    const char *name;
    ntk_dtype dtype;
    ntk_half half;
  } types[] = {{"F32", NTK_F32, NTK_NO_HALF},  {"F64", NTK_F64, NTK_NO_HALF},
               {"F16", NTK_F32, NTK_F16},      {"BF16", NTK_F32, NTK_BF16},
               {"I64", NTK_I64, NTK_NO_HALF},  {"I32", NTK_I32, NTK_NO_HALF},
               {"I16", NTK_I16, NTK_NO_HALF},  {"I8", NTK_I8, NTK_NO_HALF},
               {"U64", NTK_U64, NTK_NO_HALF},  {"U32", NTK_U32, NTK_NO_HALF},
               {"U16", NTK_U16, NTK_NO_HALF},  {"U8", NTK_U8, NTK_NO_HALF},
               {"BOOL", NTK_BOOL, NTK_NO_HALF}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, type) == 0) {
      a->dtype = types[i].dtype;
      a->half = types[i].half;
      return NTK_SUCCESS;
    }
  return ntk_fail(NTK_ERR_UNSUPPORTED, "%s: '%s' is of type %.16s", r->checkpoint->path,
                  a->name, type);
}

static ntk_status set_place(const reader *r, const int64_t *offsets, int count,
                            ntk_named_array *a) {
  ntk_status status = NTK_SUCCESS;
  int64_t bytes;
  NTK_TRY(ntk_checkpoint_bytes(r->checkpoint, a, &bytes));
  NTK_REQUIRE(count == 2 && offsets[0] <= offsets[1] && offsets[1] <= r->payload,
              NTK_ERR_FORMAT, "%s: truncated: '%s' is not whole", r->checkpoint->path,
              a->name);
  NTK_REQUIRE(offsets[1] - offsets[0] == bytes, NTK_ERR_FORMAT,
              "%s: damaged: '%s' has another length than its shape", r->checkpoint->path,
              a->name);
  a->from = r->start + offsets[0];
done:
  return status;
}

static ntk_status take_tensor(reader *r, ntk_named_array *a) {
  ntk_status status = NTK_SUCCESS;
  int64_t offsets[2] = {0};
  int count = -1;
  bool has_type = false;
  a->shape.ndim = -1;
  if (!take(r, '{'))
    NTK_TRY(damaged(r, "no tensor"));
  do {
    char *key, *type;
    NTK_TRY(take_string(r, &key));
    if (!take(r, ':'))
      NTK_TRY(damaged(r, "no value"));
    if (strcmp(key, "dtype") == 0) {
      NTK_TRY(take_string(r, &type));
      NTK_TRY(set_type(r, type, a));
      has_type = true;
    } else if (strcmp(key, "shape") == 0) {
      NTK_TRY(take_numbers(r, NTK_MAX_DIMS, a->shape.dim, &a->shape.ndim));
    } else if (strcmp(key, "data_offsets") == 0) {
      NTK_TRY(take_numbers(r, 2, offsets, &count));
    } else {
      NTK_TRY(skip_value(r));
    }
  } while (take(r, ','));
  if (!take(r, '}') || !has_type || a->shape.ndim < 0)
    NTK_TRY(damaged(r, "an unfinished tensor"));
  NTK_TRY(set_place(r, offsets, count, a));
done:
  return status;
}

static ntk_status take_all(reader *r) {
  ntk_status status = NTK_SUCCESS;
  ntk_named_array *array;
  if (!take(r, '{'))
    NTK_TRY(damaged(r, "no object"));
  if (take(r, '}'))
    goto done;
  do {
    char *name;
    NTK_TRY(take_string(r, &name));
    if (!take(r, ':'))
      NTK_TRY(damaged(r, "no value"));
    if (strcmp(name, "__metadata__") == 0) {
      NTK_TRY(skip_value(r));
    } else {
      NTK_TRY(ntk_checkpoint_add(r->checkpoint, name, &array));
      NTK_TRY(take_tensor(r, array));
    }
  } while (take(r, ','));
  if (!take(r, '}'))
    NTK_TRY(damaged(r, "no end"));
done:
  return status;
}

/* ---- file -----------------------------------------------------------------------------
 */

static ntk_status safetensors_read(ntk_checkpoint *c, const ntk_named_array *a, void *out) {
  const int64_t n = ntk_shape_size(&a->shape);
  const bool is_half = a->half != NTK_NO_HALF;
  const size_t bytes = is_half ? 2 : ntk_dtype_bytes(a->dtype);
  char *raw = (char *)out + (is_half ? 2 * n : 0); /* from there they are widened */
  if (fseeko(c->state, (off_t)a->from, SEEK_SET) != 0 ||
      fread(raw, bytes, (size_t)n, c->state) != (size_t)n)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be read", c->path);
  if (is_half)
    ntk_half_widen(a->half, raw, out, n);
  return NTK_SUCCESS;
}

static void safetensors_close(void *state) { (void)fclose(state); }

ntk_status ntk_safetensors_open(ntk_checkpoint *c) {
  ntk_status status = NTK_SUCCESS;
  unsigned char length[8];
  uint64_t bytes = 0;
  char *header = NULL;
  int64_t size;
  FILE *file = NULL;
  NTK_TRY(ntk_file_open(c->path, &file, &size));
  c->state = file;
  c->read = safetensors_read;
  c->close = safetensors_close;
  NTK_REQUIRE(fread(length, 1, 8, file) == 8, NTK_ERR_FILE, "%s: cannot be read", c->path);
  for (int i = 8; i-- > 0;)
    bytes = bytes << 8 | length[i];
  NTK_REQUIRE(bytes <= (uint64_t)MOST_HEADER && (int64_t)bytes <= size - 8, NTK_ERR_FORMAT,
              "%s: truncated in the header of safetensors", c->path);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)bytes + 1, 1, &header));
  NTK_REQUIRE(fread(header, 1, bytes, file) == bytes, NTK_ERR_FILE, "%s: cannot be read",
              c->path);
  reader r = {c, header, 8 + (int64_t)bytes, size - 8 - (int64_t)bytes};
  NTK_TRY(take_all(&r));
done:
  ntk_free(&header);
  return status;
}
