/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_TENSORS_H
#define NTK_ONNX_TENSORS_H

#include "onnx.pb-c.h"
#include "tensor/tensor.h"

/* Type of an ONNX element type; f16 and bf16 are widened to f32. NTK_ERR_UNSUPPORTED names
 * the type and `name`. */
NTK_CHECKED ntk_status ntk_onnx_dtype(int onnx, const char *name, ntk_dtype *out);

/* Shape of a tensor; NTK_ERR_FORMAT (negative sizes, too many), NTK_ERR_UNSUPPORTED. */
NTK_CHECKED ntk_status ntk_onnx_shape(const Onnx__TensorProto *proto, ntk_shape *out);

/* Purpose: the elements of a tensor. folder: of the model file, where external data may
 * lie, NULL: none are allowed. Errors: NTK_ERR_FORMAT, NTK_ERR_FILE, NTK_ERR_UNSUPPORTED.
 */
NTK_CHECKED ntk_status ntk_onnx_tensor(const Onnx__TensorProto *proto, const char *folder,
                                       ntk_tensor **out);

/* Absolute path of a tensor's external file, checked to lie inside the folder (no absolute
 * path, no "..", no link out of it). *path to be freed with ntk_free. */
NTK_CHECKED ntk_status ntk_onnx_external_path(const Onnx__TensorProto *proto,
                                              const char *folder, char **path);

#endif
