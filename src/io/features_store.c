/* SPDX-License-Identifier: Apache-2.0 */
#include "io/features_store.h"
#include "base/memory.h"
#include "io/store_parts.h"
#include <hdf5_hl.h>
#include <string.h>

/* For what HDF5 notes of the objects. */
static const int64_t metadata_bytes = 65536;
/* Indices written at a time. */
enum { PIECE = 4096 };

static const char format_of_features[] = "scantk-features 1";

/* ---- features -------------------------------------------------------------------------
 */

static ntk_store_layout layout_of(const ntk_features_spec *s) {
  ntk_store_layout l = {.block = s->block,
                        .part = s->is_pseudo ? 1 : s->part,
                        .samples = s->data->samples,
                        .outputs = s->outputs};
  ntk_store_add_axis(&l, "sample1", s->data->samples, s->block);
  if (!s->is_pseudo)
    ntk_store_add_axis(&l, "output1", s->outputs, s->part);
  ntk_store_add_axis(&l, "number2", s->dim, s->dim);
  l.marks = l.ndim - 1;
  return l;
}

int64_t ntk_features_file_bytes(const ntk_features_spec *s) {
  const double element = (double)ntk_dtype_bytes(s->dtype);
  const double row = (double)s->outputs * (double)s->dim * element +
                     (double)s->network_outputs * element + 16;
  const ntk_store_layout l = layout_of(s);
  const double bytes = (double)s->data->samples * row + 8 * (double)s->outputs +
                       9 * (double)ntk_store_tiles(&l) + (double)metadata_bytes;
  return bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX;
}

static int64_t index_at(const ntk_features_spec *s, bool output, int64_t i) {
  if (!output)
    return s->data->first + i;
  return s->output_index && !s->of_cotangents ? s->output_index[i] : i;
}

/* The original indices along an axis. */
static ntk_status put_scale(const char *path, hid_t file, const ntk_features_spec *s,
                            bool output, hid_t *out) {
  ntk_status status = NTK_SUCCESS;
  const char *name = output ? "output" : "sample";
  const char *words = !output            ? "sample (index in the data set)"
                      : s->of_cotangents ? "cotangent"
                                         : "output";
  const int64_t all = output ? s->outputs : s->data->samples;
  int64_t values[PIECE];
  NTK_TRY(ntk_h5_put(path, file, name, NTK_I64, 1, &all, NULL, out));
  for (int64_t i = 0; i < all; i += PIECE) {
    const int64_t n = all - i < PIECE ? all - i : PIECE;
    for (int64_t k = 0; k < n; k++)
      values[k] = index_at(s, output, i + k);
    NTK_TRY(ntk_h5_write_box(path, *out, 1, &i, &n, NTK_I64, values));
  }
  NTK_TRY(ntk_h5_note(path, *out, "long_name", 1, &words));
  NTK_TRY_H5(path, H5DSset_scale(*out, name));
done:
  return status;
}

/* The data sets and their scales. */
static ntk_status put_sets(const char *path, hid_t file, const ntk_features_spec *s) {
  ntk_status status = NTK_SUCCESS;
  const int64_t dim[3] = {s->data->samples, s->is_pseudo ? s->dim : s->outputs, s->dim};
  const int64_t outputs_dim[2] = {s->data->samples, s->network_outputs};
  const char *words = "random projection of the gradients by the parameters";
  hid_t sets[3] = {0}, scale = 0;
  NTK_TRY(ntk_h5_put(path, file, "/features", s->dtype, s->is_pseudo ? 2 : 3, dim, NULL,
                     &sets[0]));
  NTK_TRY(ntk_h5_note(path, sets[0], "long_name", 1, &words));
  NTK_TRY(ntk_h5_put(path, file, "/outputs", s->dtype, 2, outputs_dim, NULL, &sets[1]));
  NTK_TRY(ntk_store_put_labels(path, file, "/labels", s->data, &sets[2]));
  NTK_TRY(put_scale(path, file, s, false, &scale));
  for (int i = 0; i < 3; i++)
    if (sets[i])
      NTK_TRY_H5(path, H5DSattach_scale(sets[i], scale, 0));
  ntk_h5_close(&scale);
  if (!s->is_pseudo) {
    NTK_TRY(put_scale(path, file, s, true, &scale));
    NTK_TRY_H5(path, H5DSattach_scale(sets[0], scale, 1));
  }
done:
  ntk_h5_close(&scale);
  for (int i = 0; i < 3; i++)
    ntk_h5_close(&sets[i]);
  return status;
}

static ntk_status put_notes(const char *path, hid_t file, const ntk_features_spec *s) {
  static const char *const axes[] = {"sample", "output", "."};
  ntk_status status = NTK_SUCCESS;
  const char *format = format_of_features, *of_pseudo[] = {axes[0], axes[2]};
  const uint8_t complete = 0;
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(ntk_h5_note_plot(path, file, "features", s->is_pseudo ? 2 : 3,
                           s->is_pseudo ? of_pseudo : axes));
  NTK_TRY(ntk_h5_note(path, file, "kind", 1, &s->kind));
  NTK_TRY(ntk_h5_note_number(path, file, "seed", NTK_I64, &s->seed));
  NTK_TRY(ntk_h5_note_number(path, file, "dim", NTK_I64, &s->dim));
  NTK_TRY(ntk_h5_note_number(path, file, "block", NTK_I64, &s->block));
  NTK_TRY(ntk_h5_note_number(path, file, "part", NTK_I64, &s->part));
  NTK_TRY(ntk_h5_note_number(path, file, "complete", NTK_U8, &complete));
done:
  return status;
}

static ntk_status lay_out_features(const char *path, const void *user) {
  ntk_status status = NTK_SUCCESS;
  const ntk_features_spec *s = user;
  const ntk_store_layout l = layout_of(s);
  hid_t file = 0;
  NTK_TRY(ntk_h5_create(path, ntk_features_file_bytes(s), &file));
  NTK_TRY(put_notes(path, file, s));
  NTK_TRY(put_sets(path, file, s));
  NTK_TRY(ntk_store_make_marks(path, file, "", NULL, &l));
  NTK_TRY(ntk_h5_put_text(path, file, "/provenance", s->provenance, 0));
  NTK_TRY(ntk_h5_put_text(path, file, "/identity", s->identity, 0));
  NTK_TRY(ntk_h5_put_text(path, file, "/run", s->run, 0));
done:
  ntk_h5_close(&file);
  return status;
}

static ntk_plain_file file_of(const ntk_features_spec *spec,
                              const ntk_store_layout *layout) {
  return (ntk_plain_file){.path = spec->path,
                          .outputs = spec->network_outputs,
                          .outputs_sets = {"/outputs"},
                          .tiles = layout,
                          .set = "/features",
                          .dtype = spec->dtype,
                          .lay_out = lay_out_features,
                          .spec = spec};
}

ntk_status ntk_features_store_create(ntk_context *context, const ntk_features_spec *spec,
                                     ntk_store **out) {
  const ntk_store_layout l = layout_of(spec);
  const ntk_plain_file file = file_of(spec, &l);
  return ntk_store_create_plain(context, &file, out);
}

ntk_status ntk_features_store_resume(ntk_context *context, const ntk_features_spec *spec,
                                     ntk_store_state *state, ntk_store **out) {
  const ntk_store_layout l = layout_of(spec);
  const ntk_plain_file file = file_of(spec, &l);
  const ntk_store_rest rest = {
      .bytes = ntk_features_file_bytes(spec), .labels = {"/labels"}, .data = {spec->data}};
  return ntk_store_resume_plain(context, &file, &rest, state, out);
}

ntk_status ntk_features_read_tile(const char *path, int64_t *block, int64_t *part) {
  ntk_status status = NTK_SUCCESS;
  char *found = NULL;
  hid_t file = 0;
  NTK_TRY(ntk_store_find(path, &found));
  NTK_REQUIRE(found, NTK_ERR_FILE, "%s: no such file", path);
  NTK_OPEN_H5(found, file, H5Fopen(found, H5F_ACC_RDONLY, H5P_DEFAULT));
  NTK_REQUIRE(
      ntk_h5_has(file, "/features") && ntk_h5_has(file, "/tiles") &&
          ntk_h5_has(file, "/run") && ntk_h5_get_number(file, "block", NTK_I64, block) &&
          *block > 0 && ntk_h5_get_number(file, "part", NTK_I64, part) && *part > 0,
      NTK_ERR_FORMAT, "%s cannot be resumed: these are no features of this version", found);
done:
  ntk_h5_close(&file);
  ntk_free(&found);
  return status;
}

ntk_tile ntk_features_tile(const ntk_features_spec *spec, int64_t first, int64_t n,
                           int64_t output, int64_t o) {
  return (ntk_tile){.row_first = first,
                    .row_count = n,
                    .row_output = output,
                    .row_outputs = o,
                    .column_count = spec->dim,
                    .column_outputs = 1};
}

/* ---- regression -----------------------------------------------------------------------
 */

static const char *const predictions[2] = {"/train_predictions", "/test_predictions"};

static ntk_status lay_out_fit(const char *path, const void *user) {
  ntk_status status = NTK_SUCCESS;
  const ntk_fit_spec *s = user;
  static const char *const axes[] = {"ridge", ".", "."};
  const char *format = "scantk-features-fit 1";
  const int64_t weights[3] = {s->ridges, s->dim, s->targets}, pair[2] = {s->ridges, 2};
  const int64_t rows = (s->samples[0] + s->samples[1]) * s->outputs;
  hid_t file = 0;
  NTK_TRY(ntk_h5_create(path, s->ridges * (s->dim * s->targets + rows) * 8 + metadata_bytes,
                        &file));
  NTK_TRY(ntk_h5_note(path, file, "format", 1, &format));
  NTK_TRY(ntk_h5_note_plot(path, file, "train_predictions", 3, axes));
  NTK_TRY(ntk_h5_note(path, file, "features", 1, &s->features[0]));
  if (s->samples[1] > 0)
    NTK_TRY(ntk_h5_note(path, file, "test_features", 1, &s->features[1]));
  NTK_TRY(ntk_h5_note(path, file, "command", 1, &s->command_line));
  NTK_TRY(ntk_h5_put(path, file, "/ridge", NTK_F64, 1, &s->ridges, s->ridge, NULL));
  NTK_TRY(ntk_h5_put(path, file, "/lambda", NTK_F64, 1, &s->ridges, s->lambda, NULL));
  NTK_TRY(ntk_h5_put(path, file, "/mse", NTK_F64, 2, pair, s->mse, NULL));
  NTK_TRY(ntk_h5_put(path, file, "/accuracy", NTK_F64, 2, pair, s->accuracy, NULL));
  NTK_TRY(ntk_h5_put(path, file, "/weights", NTK_F64, 3, weights, s->weights, NULL));
  for (int i = 0; i < 2; i++) {
    const int64_t dim[3] = {s->ridges, s->samples[i], s->outputs};
    if (s->samples[i] > 0)
      NTK_TRY(ntk_h5_put(path, file, predictions[i], NTK_F64, 3, dim, NULL, NULL));
  }
done:
  ntk_h5_close(&file);
  return status;
}

ntk_status ntk_fit_store_create(ntk_context *context, const ntk_fit_spec *spec,
                                ntk_store **out) {
  const ntk_plain_file file = {
      .path = spec->path,
      .outputs_sets = {predictions[0], spec->samples[1] > 0 ? predictions[1] : NULL},
      .lay_out = lay_out_fit,
      .spec = spec};
  return ntk_store_create_plain(context, &file, out);
}

ntk_status ntk_fit_store_write(ntk_store *store, int set, int64_t outputs, int64_t ridge,
                               int64_t first, int64_t n, const double *values) {
  const int64_t at[3] = {ridge, first, 0}, count[3] = {1, n, outputs};
  return ntk_store_write_rows(store, set, 3, at, count, values);
}
