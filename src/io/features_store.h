/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_FEATURES_STORE_H
#define NTK_IO_FEATURES_STORE_H

#include "io/store.h"

/* The files of random features and of what is regressed on them. Both become OUTPUT when
 * they are closed as complete (ntk_store_close). */

/* /features [N, O, dim], of one cotangent [N, dim]; /outputs [N, O], /labels; scales
 * sample, output; /tiles as kernels have them; /provenance, /identity, /run. A tile is some
 * outputs of a block of samples. Everything borrowed for the call of create. */
typedef struct ntk_features_spec {
  const char *path;
  ntk_dtype dtype;
  const ntk_data *data;
  bool is_pseudo;              /* no axis of outputs */
  int64_t outputs, dim;        /* of the features */
  int64_t network_outputs;     /* columns of /outputs */
  bool of_cotangents;          /* the outputs of the features are the user's cotangents */
  const int64_t *output_index; /* [outputs] original numbers; NULL: 0.. */
  const char *kind;            /* of the random numbers */
  int64_t seed;
  int64_t block, part; /* samples and outputs of a tile */
  const char *provenance;
  const char *identity; /* what features that go together have in common */
  const char *run;      /* what --resume compares beside it */
} ntk_features_spec;
int64_t ntk_features_file_bytes(const ntk_features_spec *spec);
/* Collective. Errors: those of ntk_store_create. */
NTK_CHECKED ntk_status ntk_features_store_create(ntk_context *context,
                                                 const ntk_features_spec *spec,
                                                 ntk_store **out);
/* As ntk_store_resume. */
NTK_CHECKED ntk_status ntk_features_store_resume(ntk_context *context,
                                                 const ntk_features_spec *spec,
                                                 ntk_store_state *state, ntk_store **out);
/* Samples and outputs of a tile of OUTPUT or OUTPUT.part. Local. NTK_ERR_FORMAT: these are
 * no features that a run can go on with. */
NTK_CHECKED ntk_status ntk_features_read_tile(const char *path, int64_t *block,
                                              int64_t *part);
/* The tile of samples first .. first + n and outputs output .. output + o, whose values [n,
 * o, dim], in the file's type, ntk_store_write takes; /outputs are written by
 * ntk_store_write_outputs. Local. */
ntk_tile ntk_features_tile(const ntk_features_spec *spec, int64_t first, int64_t n,
                           int64_t output, int64_t o);

/* /weights [R, dim, C], /ridge and /lambda [R], /mse and /accuracy [R, 2] (train, test;
 * NaN: none), /train_predictions [R, N, O], /test_predictions [R, M, O]. */
typedef struct ntk_fit_spec {
  const char *path;
  int64_t ridges, dim, targets, outputs; /* R, dim, C, O */
  int64_t samples[2];                    /* N, M; M = 0: no test set */
  const double *ridge, *lambda, *mse, *accuracy, *weights;
  const char *features[2]; /* paths of the files */
  const char *command_line;
} ntk_fit_spec;
NTK_CHECKED ntk_status ntk_fit_store_create(ntk_context *context, const ntk_fit_spec *spec,
                                            ntk_store **out);
/* Predictions [n, O] of a ridge, of samples first .. of the train (0) or test (1) set. */
NTK_CHECKED ntk_status ntk_fit_store_write(ntk_store *store, int set, int64_t outputs,
                                           int64_t ridge, int64_t first, int64_t n,
                                           const double *values);

#endif
