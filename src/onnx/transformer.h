/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_TRANSFORMER_H
#define NTK_ONNX_TRANSFORMER_H

#include "onnx/layers.h"

/* What networks on tokens [T, width] are made of, in the nodes that torch's exporter makes
 * of it. Private to src/onnx; all local. */

/* gain * (x - mean) / sqrt(variance + 1e-5) + bias, over the last axis */
NTK_CHECKED ntk_status ntk_build_layer_norm(ntk_build *b, const char *layer);
/* What is added to tokens (positions, class token), as a value in hand. */
NTK_CHECKED ntk_status ntk_build_additive(ntk_build *b, const char *name,
                                          const ntk_shape *shape);
/* Image to tokens: a convolution of patches. Refuses a patch that does not divide it. */
NTK_CHECKED ntk_status ntk_build_patches(ntk_build *b);
/* Two layers with an activation between them, on the last axis, which keeps its size. */
NTK_CHECKED ntk_status ntk_build_perceptron(ntk_build *b, const char *layer, int64_t hidden,
                                            ntk_role up, ntk_role down);
NTK_CHECKED ntk_status ntk_build_mlp(ntk_build *b, const char *layer); /* 4 width */
/* x + branch(norm(x)): layers BLOCK.WHAT and BLOCK.NORM */
NTK_CHECKED ntk_status ntk_build_residual(ntk_build *b, const char *block, const char *what,
                                          const char *norm,
                                          ntk_status (*branch)(ntk_build *b,
                                                               const char *layer));
/* Blocks of attention and perceptron, the norm in front; heads must divide the width. */
NTK_CHECKED ntk_status ntk_build_transformer(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_require_heads(const ntk_build *b);

#endif
