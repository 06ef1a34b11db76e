/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_MODEL_H
#define SCANTK_MODEL_H

#include <scantk/context.h>
#include <scantk/dtype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A network: a function of one sample, f(theta, x) -> O numbers, with its parameters. */
typedef struct ntk_model ntk_model;

/* Purpose: read an ONNX file. Collective: rank 0 reads; its large tensors are held once per
 * node.
 * options  text of the table "model" (parameter selection, batch axis, shapes, output) or
 *          NULL. A model without parameters is good for its outputs alone.
 * context  borrowed; outlives the model.
 * out      owned by the caller; written only on success.
 * Errors: NTK_ERR_FILE, NTK_ERR_FORMAT (not ONNX, truncated), NTK_ERR_UNSUPPORTED
 * (operator, with node and opset), NTK_ERR_ARGUMENT, NTK_ERR_NONFINITE. */
NTK_API NTK_CHECKED ntk_status ntk_model_read(ntk_context *context, const char *path,
                                              const char *options, ntk_model **out);

/* The same, to plan with: files of external data may be absent, weights that are not there
 * are made up. Such a model can be described and planned for, nothing else. */
NTK_API NTK_CHECKED ntk_status ntk_model_read_shapes(ntk_context *context, const char *path,
                                                     const char *options, ntk_model **out);

/* The same from bytes in memory (the same bytes on all ranks; copied); external data are
 * refused. */
NTK_API NTK_CHECKED ntk_status ntk_model_from_memory(ntk_context *context,
                                                     const void *bytes, size_t size,
                                                     const char *options, ntk_model **out);
/* Frees the model and nulls the handle. Collective (ranks of a node share parameters),
 * NULL-safe. Its plans must be gone before. */
NTK_API void ntk_model_destroy(ntk_model **model);

/* Numbers of parameter tensors and parameters, and O. Local. */
typedef struct ntk_model_info {
  int64_t parameter_tensors;
  int64_t parameters;
  int64_t outputs;
} ntk_model_info;
NTK_API ntk_model_info ntk_model_get_info(const ntk_model *model);

/* A parameter tensor, in the file's order. */
typedef struct ntk_parameter_info {
  const char *name; /* the model's */
  int64_t count;    /* of elements */
  int ndim;
  int64_t shape[8];
} ntk_parameter_info;
/* The index-th of them; false past the last. Local. */
NTK_API bool ntk_model_parameter(const ntk_model *model, int index,
                                 ntk_parameter_info *out);

/* Purpose: give a parameter other values. Plans of the model go on with them from their
 * next execution on; files that are written name them by their digest. What is no parameter
 * (frozen tensors, statistics) became part of the network when the model was read:
 * --parameters replaces that, too. Collective.
 * name, dtype, count  the same on all ranks; NTK_F32 or NTK_F64, of which nothing is lost
 *                     in a plan of that type.
 * values              row-major, of rank 0; other ranks' are not looked at. Copied.
 * Errors: NTK_ERR_ARGUMENT (name, type, count), NTK_ERR_NONFINITE, NTK_ERR_FILE (a model
 * without weights), NTK_ERR_MEMORY. After an error the values are the old ones, or, where
 * messages failed, undefined.
 * Cost: a broadcast to one rank of each node; a hash of all parameters and, in plans, what
 * is computed from parameters alone, once for all that were set since. */
NTK_API NTK_CHECKED ntk_status ntk_model_set_parameter(ntk_model *model, const char *name,
                                                       ntk_dtype dtype, int64_t count,
                                                       const void *values);

/* A family of networks that can be written, and what its options are by default. */
typedef struct ntk_family_info {
  const char *name, *input;
  int64_t width, depth;   /* 0: no such option */
  const char *activation; /* NULL: no such option */
  const char *help;
} ntk_family_info;
/* The index-th of them; false past the last. Local. */
NTK_API bool ntk_model_family(int index, ntk_family_info *out);

/* Purpose: write a network of a family with random parameters as an ONNX file, or, with
 * --ensemble K, K of them with the seeds seed, seed + 1, ... as PATH with -0, -1, ...
 * before its extension, each reported (NTK_REPORT_RESULT). Collective: rank 0 writes.
 * options: text of the table "family". Errors: NTK_ERR_ARGUMENT, NTK_ERR_EXISTS (before any
 * is written), NTK_ERR_FILE. */
NTK_API NTK_CHECKED ntk_status ntk_model_generate(ntk_context *context, const char *family,
                                                  const char *options, const char *path);

/* Purpose: describe a model, data set (FILE[:/path]), kernel file or another file of
 * results of this program in words. Collective. options  text of the tables "describe"
 * (--json) and "model", or NULL. *text    on all ranks, owned by the caller: to be freed
 * with ntk_text_free. Errors: those of ntk_model_read and ntk_data_read, NTK_ERR_HDF5;
 * NTK_ERR_ARGUMENT for options of a model where the file is none. */
NTK_API NTK_CHECKED ntk_status ntk_describe(ntk_context *context, const char *path,
                                            const char *options, char **text);
/* Frees and nulls it. Local, NULL-safe. */
NTK_API void ntk_text_free(char **text);

#ifdef __cplusplus
}
#endif
#endif
