/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NTK_SUBJECT_H
#define TESTS_NTK_SUBJECT_H

/* Networks with samples of two sides: those of tests/golden and generated ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "onnx/model.h"
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const golden[] = {"fcn",
                                     "cnn",
                                     "lenet5",
                                     "groups",
                                     "convolutions_1d_3d",
                                     "resnet_batchnorm",
                                     "residual_convolutions",
                                     "used_twice",
                                     "convolution_used_twice",
                                     "transposed",
                                     "ties",
                                     "attention",
                                     "cut_weights",
                                     "vit_fused",
                                     "vit_encoder",
                                     "ntk",
                                     "scaled_weight",
                                     "weight_norm",
                                     "mixer",
                                     "sequence",
                                     "dense",
                                     "activations"};
enum { GOLDEN = sizeof golden / sizeof *golden };

static inline void succeed(ntk_status status) {
  if (status != NTK_SUCCESS)
    fail_msg("%s", ntk_fail_message());
}

/* ---- a network and its samples ---- */

typedef struct subject {
  const char *name;
  ntk_model *model;
  int64_t O, size;    /* outputs, elements of a sample */
  int64_t count[2];   /* samples of the sides */
  double *samples[2]; /* [count, size] */
  bool indices;       /* the samples are such: they have no neighbours */
} subject;

static inline double *doubles(int64_t count) {
  double *p = calloc((size_t)count + 1, sizeof *p);
  assert_non_null(p);
  return p;
}

static inline const char *golden_path(char path[512], const char *name) {
  const char *source = getenv("SOURCE_DIR");
  snprintf(path, 512, "%s/tests/golden/%s", source ? source : ".", name);
  return path;
}

static inline hid_t references_open(void) {
  char path[512];
  const hid_t file =
      H5Fopen(golden_path(path, "references.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

/* All elements of a data set of references.h5. */
static inline double *read_reference(const char *network, const char *key, int64_t *count) {
  char path[512];
  const hid_t file = references_open();
  snprintf(path, sizeof path, "%s/%s", network, key);
  const hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
  const hid_t space = H5Dget_space(set);
  *count = (int64_t)H5Sget_simple_extent_npoints(space);
  double *values = doubles(*count);
  assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
  return values;
}

/* Networks in references.h5. */
static inline int64_t count_references(void) {
  H5G_info_t info;
  const hid_t file = references_open();
  assert_true(H5Gget_info(file, &info) >= 0);
  H5Fclose(file);
  return (int64_t)info.nlinks;
}

static inline subject subject_of(const char *name, ntk_model *model) {
  const ntk_graph *graph = model->graph;
  return (subject){.name = name,
                   .model = model,
                   .O = ntk_graph_outputs(graph),
                   .size = ntk_graph_size(graph, graph->inputs[0])};
}

/* A golden network with its two sets of samples; options: of the table "model". */
static inline subject subject_golden_with(ntk_context *context, const char *name,
                                          const char *options) {
  char file[128], path[512];
  ntk_model *model;
  snprintf(file, sizeof file, "%s.onnx", name);
  succeed(ntk_model_read(context, golden_path(path, file), options, &model));
  subject s = subject_of(name, model);
  for (int side = 0; side < 2; side++) {
    s.samples[side] = read_reference(name, side ? "inputs2" : "inputs", &s.count[side]);
    assert_int_equal(s.count[side] % s.size, 0);
    s.count[side] /= s.size;
  }
  return s;
}

static inline subject subject_golden(ntk_context *context, const char *name) {
  return subject_golden_with(context, name, NULL);
}

/* In (-1, 1), the same on every machine. */
static inline double number(uint64_t seed, uint64_t i) {
  uint64_t z = (seed << 32 | i) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (double)(int64_t)(z ^ (z >> 31)) / 0x1p63;
}

static inline const char *temporary_path(char path[512]) {
  const char *folder = getenv("TMPDIR");
  snprintf(path, 512, "%s/scantk-subject-%ld.onnx", folder ? folder : "/tmp",
           (long)getpid());
  return path;
}

/* A network in a file, which is removed, with random samples that f32 holds. */
static inline subject subject_from_file(ntk_context *context, const char *name,
                                        const char *path, const char *options, int64_t n1,
                                        int64_t n2) {
  ntk_model *model;
  const ntk_status status = ntk_model_read(context, path, options, &model);
  remove(path);
  if (status != NTK_SUCCESS)
    fail_msg("%s: %s", name, ntk_fail_message());
  subject s = subject_of(name, model);
  for (int side = 0; side < 2; side++) {
    s.count[side] = side ? n2 : n1;
    s.samples[side] = doubles(s.count[side] * s.size);
    for (int64_t i = 0; i < s.count[side] * s.size; i++)
      s.samples[side][i] = (double)(float)number((uint64_t)side + 1, (uint64_t)i);
  }
  return s;
}

static inline subject subject_generated(ntk_context *context, const char *family,
                                        const char *options, int64_t n1, int64_t n2) {
  char path[512];
  succeed(ntk_model_generate(context, family, options, temporary_path(path)));
  return subject_from_file(context, family, path, NULL, n1, n2);
}

static inline void subject_free(subject *s) {
  free(s->samples[0]);
  free(s->samples[1]);
  ntk_model_destroy(&s->model);
}

/* ---- comparison ---- */

/* max|a - b| / max|b|; infinite where a number is not finite. */
static inline double difference(int64_t count, const double *a, const double *b) {
  double most = 0, scale = 0;
  for (int64_t i = 0; i < count; i++) {
    if (!isfinite(a[i]) || !isfinite(b[i]))
      return INFINITY;
    most = fmax(most, fabs(a[i] - b[i]));
    scale = fmax(scale, fabs(b[i]));
  }
  return scale > 0 ? most / scale : most;
}

#endif
