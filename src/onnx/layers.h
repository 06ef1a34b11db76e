/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_LAYERS_H
#define NTK_ONNX_LAYERS_H

#include "onnx/writer.h"

/* Layers of the networks that we write, each behind the value in hand. Private to src/onnx;
 * all local. Values and nodes are named LAYER or LAYER.WHAT (`layer`, `what` with its dot,
 * or ""); NTK_ERR_ARGUMENT where a name is too long. */
enum { NTK_BUILD_NAME = 96 };

/* A network under construction. */
typedef struct ntk_build {
  ntk_writer *writer;
  uint64_t seed;
  uint64_t tensors; /* made so far: the random stream of the next one */
  const char *activation;
  bool ntk;                    /* parametrization: factors outside of the parameters */
  double variance, bias_scale; /* v, s */
  int64_t width, depth, outputs, patch, heads;
  char at[NTK_BUILD_NAME]; /* the value in hand */
  ntk_shape shape;         /* of one sample of it */
} ntk_build;

NTK_CHECKED ntk_status ntk_build_name(char out[NTK_BUILD_NAME], const char *layer,
                                      const char *what);
/* A node of one or two inputs (right: NULL) whose output becomes the value in hand. */
NTK_CHECKED ntk_status ntk_build_node(ntk_build *b, const char *op, const char *layer,
                                      const char *what, const char *right);
/* The same with a Constant on the right: a number, a list of integers. */
NTK_CHECKED ntk_status ntk_build_scalar(ntk_build *b, const char *op, const char *layer,
                                        const char *what, double value);
NTK_CHECKED ntk_status ntk_build_ints(ntk_build *b, const char *op, const char *layer,
                                      const char *what, int64_t count,
                                      const int64_t values[]);
/* A parameter tensor, N(0, deviation^2) from a random stream of its own. */
NTK_CHECKED ntk_status ntk_build_parameter(ntk_build *b, const char *name,
                                           const ntk_shape *shape, double deviation);

/* Weight and bias: standard W ~ N(0, v/fan_in), b = 0; ntk W, b ~ N(0, 1) and
 * y = sqrt(v/fan_in) W x + s b. */
/* On a vector. Standard: Gemm with W [out, in] as torch stores it; ntk: MatMul with
 * W [in, out]. */
NTK_CHECKED ntk_status ntk_build_dense(ntk_build *b, const char *layer, int64_t outputs);
/* On the last axis, by MatMul with W [in, out] and Add. */
NTK_CHECKED ntk_status ntk_build_linear(ntk_build *b, const char *layer, int64_t outputs);
/* On an image, with a square window. */
NTK_CHECKED ntk_status ntk_build_convolution(ntk_build *b, const char *layer,
                                             int64_t channels, int64_t kernel,
                                             int64_t stride, int64_t pad);

NTK_CHECKED ntk_status ntk_build_max_pool(ntk_build *b, const char *layer); /* 2 x 2 */
NTK_CHECKED ntk_status ntk_build_activation(ntk_build *b, const char *layer);
NTK_CHECKED ntk_status ntk_build_flatten(ntk_build *b);

/* vit.c: a Vision Transformer on an image. */
NTK_CHECKED ntk_status ntk_build_vit(ntk_build *b);

#endif
