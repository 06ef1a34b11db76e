/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_TENSORS_H
#define NTK_ONNX_TENSORS_H

#include "dist/shared.h"
#include "onnx.pb-c.h"
#include "tensor/tensor.h"

/* Type of an ONNX element type; f16 and bf16 are widened to f32. NTK_ERR_UNSUPPORTED names
 * the type and `name`. */
NTK_CHECKED ntk_status ntk_onnx_dtype(int onnx, const char *name, ntk_dtype *out);

/* Shape of a tensor; NTK_ERR_FORMAT (negative sizes, too many), NTK_ERR_UNSUPPORTED. */
NTK_CHECKED ntk_status ntk_onnx_shape(const Onnx__TensorProto *proto, ntk_shape *out);

/* Its name, for messages; bytes of an element in the file. */
const char *ntk_onnx_name(const Onnx__TensorProto *proto);
int64_t ntk_onnx_width(int onnx, ntk_dtype dtype);
bool ntk_onnx_is_half(int onnx); /* f16 or bf16 */
/* n halves to f32; `out` may begin 2 n bytes before `raw`. */
void ntk_onnx_widen(int onnx, const char *raw, void *out, int64_t n);

/* Are the elements in another file? An entry about it, NULL without. */
bool ntk_onnx_is_external(const Onnx__TensorProto *proto);
const char *ntk_onnx_external_entry(const Onnx__TensorProto *proto, const char *key);

/* The `count` elements in the fields of a tensor, as the type of ntk_onnx_dtype.
 * NTK_ERR_FORMAT: there are more or fewer. */
NTK_CHECKED ntk_status ntk_onnx_elements(const Onnx__TensorProto *proto, int64_t count,
                                         void *out);

/* The value of data_location, and the key of the entry of external data ("at bytes"), by
 * which the elements of a tensor stand in the block. */
enum { NTK_ONNX_IN_BLOCK = 2 };
#define NTK_ONNX_PLACE "scantk.place"

/* Purpose: a tensor with its elements: copied, or those in the block. Errors:
 * NTK_ERR_FORMAT, NTK_ERR_UNSUPPORTED. */
NTK_CHECKED ntk_status ntk_onnx_tensor(const Onnx__TensorProto *proto,
                                       const ntk_shared *block, ntk_tensor **out);

#endif
