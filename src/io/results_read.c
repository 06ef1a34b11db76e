/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the program's files of results, for `info`. */
#include "base/memory.h"
#include "io/results.h"
#include "io/source.h"
#include "io/store_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Elements of a data set whose values are told. */
enum { FEW = 16, KIND = 32 };

typedef struct reader {
  char *path; /* of what was found */
  hid_t file;
  char kind[KIND]; /* "solution" */
  bool json;
  ntk_text *text;
  ntk_text texts; /* those of more than a line, which come last */
} reader;

/* A data set: text, or numbers. */
typedef struct set {
  char name[NTK_STORE_NAME];
  char *text;
  ntk_shape shape;
  ntk_dtype dtype;
  double few[FEW];
} set;

/* ---- reading --------------------------------------------------------------------------
 */

/* "scantk-solution 1" is a solution; data sets and kernels are described elsewhere. */
static bool read_kind(hid_t file, char kind[KIND]) {
  static const char prefix[] = "scantk-";
  char format[KIND];
  if (H5Aexists(file, "format") <= 0 ||
      ntk_h5_get_note("", file, "format", format, sizeof format) != NTK_SUCCESS ||
      strncmp(format, prefix, sizeof prefix - 1) != 0)
    return false;
  format[strcspn(format, " ")] = '\0';
  (void)snprintf(kind, KIND, "%s", format + sizeof prefix - 1);
  return strcmp(kind, "data") != 0 && strcmp(kind, "kernel") != 0;
}

static ntk_status open_file(const char *path, reader *r) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_store_find(path, &r->path));
  NTK_REQUIRE(r->path && ntk_hdf5_is(r->path), NTK_ERR_FORMAT, "%s: no HDF5 file", path);
  NTK_OPEN_H5(r->path, r->file, H5Fopen(r->path, H5F_ACC_RDONLY, H5P_DEFAULT));
  NTK_REQUIRE(read_kind(r->file, r->kind), NTK_ERR_FORMAT,
              "%s: not a file of results of this program", r->path);
done:
  return status;
}

static void close_file(reader *r) {
  ntk_h5_close(&r->file);
  ntk_free(&r->path);
  ntk_text_clear(&r->texts);
}

bool ntk_results_are(const char *path) {
  reader r = {.file = 0};
  const bool good = open_file(path, &r) == NTK_SUCCESS;
  close_file(&r);
  return good;
}

static ntk_status read_text(const reader *r, set *s) {
  return ntk_h5_get_text(r->path, r->file, s->name, &s->text);
}

static ntk_status read_numbers(const reader *r, hid_t dataset, set *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_MAX_DIMS] = {0};
  NTK_TRY(ntk_h5_dtype(r->path, dataset, &s->dtype));
  NTK_TRY(ntk_h5_shape(r->path, dataset, &s->shape));
  if (ntk_shape_size(&s->shape) <= FEW)
    NTK_TRY(ntk_h5_read_box(r->path, dataset, s->shape.ndim, zero, s->shape.dim, NTK_F64,
                            s->few));
done:
  return status;
}

/* *is_set false: a group. */
static ntk_status read_set(const reader *r, hsize_t i, set *s, bool *is_set) {
  ntk_status status = NTK_SUCCESS;
  hid_t object = 0, type = 0;
  *s = (set){.text = NULL};
  NTK_TRY_H5(r->path, H5Lget_name_by_idx(r->file, ".", H5_INDEX_NAME, H5_ITER_INC, i,
                                         s->name, sizeof s->name, H5P_DEFAULT));
  NTK_OPEN_H5(r->path, object, H5Oopen(r->file, s->name, H5P_DEFAULT));
  *is_set = H5Iget_type(object) == H5I_DATASET;
  if (!*is_set)
    goto done;
  NTK_OPEN_H5(r->path, type, H5Dget_type(object));
  NTK_TRY(H5Tget_class(type) == H5T_STRING ? read_text(r, s) : read_numbers(r, object, s));
done:
  ntk_h5_close(&type);
  ntk_h5_close(&object);
  return status;
}

/* ---- words ----------------------------------------------------------------------------
 */

static ntk_status add_number(const reader *r, double value) {
  return r->json && !isfinite(value)
             ? ntk_text_add(r->text, "null")
             : ntk_text_add(r->text, r->json ? "%.17g" : "%.6g", value);
}

static ntk_status tell_numbers(reader *r, const set *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t count = ntk_shape_size(&s->shape);
  char shape[NTK_SHAPE_TEXT];
  (void)ntk_shape_text(&s->shape, shape);
  if (r->json) {
    NTK_TRY(ntk_text_add_json(r->text, s->name));
    NTK_TRY(ntk_text_add(r->text, ": {\"shape\": %s, \"type\": \"%s\"", shape,
                         ntk_dtype_name(s->dtype)));
  } else {
    NTK_TRY(ntk_text_add(r->text, "%-20s %s %s", s->name, shape, ntk_dtype_name(s->dtype)));
  }
  if (count <= FEW)
    NTK_TRY(ntk_text_add(r->text, r->json ? ", \"values\": [" : ": "));
  for (int64_t i = 0; i < count && count <= FEW; i++) {
    NTK_TRY(ntk_text_add(r->text, i > 0 ? ", " : ""));
    NTK_TRY(add_number(r, s->few[i]));
  }
  NTK_TRY(ntk_text_add(r->text, r->json ? count <= FEW ? "]}" : "}" : "\n"));
done:
  return status;
}

/* JSON stays as it is. What --resume and others compare is not for readers. */
static ntk_status tell_text(reader *r, const set *s) {
  ntk_status status = NTK_SUCCESS;
  const bool is_json = s->text[0] == '{';
  if (strcmp(s->name, "identity") == 0 || strcmp(s->name, "run") == 0)
    return NTK_SUCCESS;
  if (!r->json && !strchr(s->text, '\n'))
    return ntk_text_add(r->text, "%-20s %s\n", s->name, s->text);
  if (!r->json)
    return ntk_text_add(&r->texts, "%s\n%s%s", s->name, s->text,
                        s->text[strlen(s->text) - 1] == '\n' ? "" : "\n");
  NTK_TRY(ntk_text_add(&r->texts, ", "));
  NTK_TRY(ntk_text_add_json(&r->texts, s->name));
  NTK_TRY(ntk_text_add(&r->texts, ": "));
  NTK_TRY(is_json ? ntk_text_add(&r->texts, "%s", s->text)
                  : ntk_text_add_json(&r->texts, s->text));
done:
  return status;
}

static ntk_status tell_sets(reader *r) {
  ntk_status status = NTK_SUCCESS;
  H5G_info_t info;
  bool is_set = false, follows = false;
  set s = {.text = NULL};
  NTK_TRY_H5(r->path, H5Gget_info(r->file, &info));
  for (hsize_t i = 0; i < info.nlinks; i++) {
    NTK_TRY(read_set(r, i, &s, &is_set));
    if (is_set && s.text) {
      NTK_TRY(tell_text(r, &s));
    } else if (is_set) {
      NTK_TRY(ntk_text_add(r->text, r->json && follows ? ", " : ""));
      NTK_TRY(tell_numbers(r, &s));
      follows = true;
    }
    ntk_free(&s.text);
  }
done:
  ntk_free(&s.text);
  return status;
}

/* Of files that are written tile by tile. */
static ntk_status tell_tiles(reader *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t zero[NTK_MAX_DIMS] = {0};
  int64_t done = 0, tiles = 0;
  uint8_t complete = 0, *marks = NULL;
  hid_t dataset = 0;
  ntk_shape shape;
  if (!ntk_h5_get_number(r->file, "complete", NTK_U8, &complete) ||
      !ntk_h5_has(r->file, "/tiles"))
    return NTK_SUCCESS;
  NTK_OPEN_H5(r->path, dataset, H5Dopen2(r->file, "/tiles/done", H5P_DEFAULT));
  NTK_TRY(ntk_h5_shape(r->path, dataset, &shape));
  tiles = ntk_shape_size(&shape);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, tiles, 1, &marks));
  NTK_TRY(ntk_h5_read_box(r->path, dataset, shape.ndim, zero, shape.dim, NTK_U8, marks));
  for (int64_t i = 0; i < tiles; i++)
    done += marks[i];
  if (r->json)
    NTK_TRY(ntk_text_add(r->text,
                         ", \"complete\": %s, \"tiles\": %" PRId64 ", \"done\": %" PRId64,
                         complete ? "true" : "false", tiles, done));
  else
    NTK_TRY(ntk_text_add(r->text, "%-20s %" PRId64 " of %" PRId64 " done%s\n", "tiles",
                         done, tiles, complete ? "" : "; NOT complete"));
done:
  ntk_free(&marks);
  ntk_h5_close(&dataset);
  return status;
}

ntk_status ntk_results_describe(const char *path, bool json, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  reader r = {.json = json, .text = text};
  NTK_TRY(open_file(path, &r));
  if (json) {
    NTK_TRY(ntk_text_add(text, "{\"kind\": \"%s\", \"path\": ", r.kind));
    NTK_TRY(ntk_text_add_json(text, r.path));
  } else {
    NTK_TRY(ntk_text_add(text, "%-20s %s\n", r.kind, r.path));
  }
  NTK_TRY(tell_tiles(&r));
  if (json)
    NTK_TRY(ntk_text_add(text, ", \"sets\": {"));
  NTK_TRY(tell_sets(&r));
  NTK_TRY(ntk_text_add(text, "%s%s%s", json ? "}" : "", r.texts.data ? r.texts.data : "",
                       json ? "}\n" : ""));
done:
  close_file(&r);
  return status;
}
