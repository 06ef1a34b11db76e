/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_MODEL_H
#define SCANTK_MODEL_H

#include <scantk/context.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A network: a function of one sample, f(theta, x) -> O numbers, with its parameters. */
typedef struct ntk_model ntk_model;

/* Purpose: read an ONNX file. Collective: rank 0 reads, all get the bytes.
 * options  text of the table "model" (parameter selection, batch axis, shapes) or NULL.
 * context  borrowed; outlives the model.
 * out      owned by the caller; written only on success.
 * Errors: NTK_ERR_FILE, NTK_ERR_FORMAT (not ONNX, truncated), NTK_ERR_UNSUPPORTED
 * (operator, with node and opset), NTK_ERR_NO_PARAMETERS, NTK_ERR_ARGUMENT,
 * NTK_ERR_NONFINITE. */
NTK_API NTK_CHECKED ntk_status ntk_model_read(ntk_context *context, const char *path,
                                              const char *options, ntk_model **out);

/* The same from bytes in memory (the same bytes on all ranks; copied); external data are
 * refused. */
NTK_API NTK_CHECKED ntk_status ntk_model_from_memory(ntk_context *context,
                                                     const void *bytes, size_t size,
                                                     const char *options, ntk_model **out);
/* Frees the model and nulls the handle. Local, NULL-safe. Its plans must be gone before. */
NTK_API void ntk_model_destroy(ntk_model **model);

/* Numbers of parameter tensors and parameters, and O. Local. */
typedef struct ntk_model_info {
  int64_t parameter_tensors;
  int64_t parameters;
  int64_t outputs;
} ntk_model_info;
NTK_API ntk_model_info ntk_model_get_info(const ntk_model *model);

/* Purpose: write a network of a family (fcn, cnn, lenet5, resnet18, vit) with random
 * parameters as an ONNX file. Collective: rank 0 writes. options: text of the table
 * "family". Errors: NTK_ERR_ARGUMENT, NTK_ERR_EXISTS, NTK_ERR_FILE. */
NTK_API NTK_CHECKED ntk_status ntk_model_generate(ntk_context *context, const char *family,
                                                  const char *options, const char *path);

/* Purpose: describe a model, data set (FILE[:/path]) or kernel file in words. Collective.
 * options  text of the tables "describe" (--json) and "model", or NULL.
 * *text    on all ranks, owned by the caller: to be freed with ntk_text_free.
 * Errors: those of ntk_model_read and ntk_data_read, NTK_ERR_HDF5; NTK_ERR_ARGUMENT for
 * options of a model where the file is none. */
NTK_API NTK_CHECKED ntk_status ntk_describe(ntk_context *context, const char *path,
                                            const char *options, char **text);
/* Frees and nulls it. Local, NULL-safe. */
NTK_API void ntk_text_free(char **text);

#ifdef __cplusplus
}
#endif
#endif
