/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_LAYERS_H
#define NTK_ONNX_LAYERS_H

#include "onnx/writer.h"

/* Layers of the networks that we write, each behind the value in hand. Private to src/onnx;
 * all local. Values and nodes are named LAYER or LAYER.WHAT (`layer`, `what` with its dot,
 * or ""); NTK_ERR_ARGUMENT where a name is too long. */
enum { NTK_BUILD_NAME = 96 };

/* Where the factors of the variances stand (parametrize.c). */
typedef enum ntk_scheme { NTK_STANDARD, NTK_NEURAL_TANGENT, NTK_MAXIMAL_UPDATE } ntk_scheme;
/* Which of a weight's sides grow with the width: outputs, both, inputs. */
typedef enum ntk_role { NTK_ROLE_INPUT, NTK_ROLE_HIDDEN, NTK_ROLE_OUTPUT } ntk_role;

typedef struct ntk_family ntk_family;

/* A network under construction. */
typedef struct ntk_build {
  ntk_writer *writer;
  const ntk_family *family;
  uint64_t seed;
  uint64_t tensors; /* made so far: the random stream of the next one */
  const char *activation;
  ntk_scheme scheme;
  ntk_role role;               /* of the next weight: hidden again after it */
  double variance, bias_scale; /* v, s */
  bool batch_norm, imagenet_stem, tied_head;
  int64_t width, depth, outputs, patch, heads, vocabulary;
  const char *mask;        /* added to the scores of the attention; or NULL */
  char at[NTK_BUILD_NAME]; /* the value in hand */
  ntk_shape shape;         /* of one sample of it */
} ntk_build;

/* y = factor * (what is made of the parameter), its elements N(0, deviation^2). */
typedef struct ntk_scale {
  double factor, deviation;
} ntk_scale;

/* parametrize.c. Of a weight; of what is added (biases, tokens, positions), whose standard
 * deviation is given, with `size` channels; of a gain, whose elements are all `deviation`.
 */
ntk_scale ntk_weight_scale(const ntk_build *b, int64_t fan_in, int64_t fan_out);
ntk_scale ntk_bias_scale(const ntk_build *b, int64_t size, double deviation);
ntk_scale ntk_gain_scale(const ntk_build *b, int64_t size);

NTK_CHECKED ntk_status ntk_build_name(char out[NTK_BUILD_NAME], const char *layer,
                                      const char *what);
/* A value made before becomes the value in hand. */
void ntk_build_take(ntk_build *b, const char *name);
/* A node of one or two inputs (right: NULL) whose output becomes the value in hand. */
NTK_CHECKED ntk_status ntk_build_node(ntk_build *b, const char *op, const char *layer,
                                      const char *what, const char *right);
/* The same with a Constant on the right: a number, a list of integers. */
NTK_CHECKED ntk_status ntk_build_scalar(ntk_build *b, const char *op, const char *layer,
                                        const char *what, double value);
NTK_CHECKED ntk_status ntk_build_ints(ntk_build *b, const char *op, const char *layer,
                                      const char *what, int64_t count,
                                      const int64_t values[]);
NTK_CHECKED ntk_status ntk_build_transpose(ntk_build *b, const char *layer,
                                           const char *what, int axes,
                                           const int64_t perm[]);
/* Entry `index` of an axis of the file's value, which has the batch in front. */
NTK_CHECKED ntk_status ntk_build_pick(ntk_build *b, const char *layer, const char *what,
                                      int64_t axis, int64_t index);
/* The mean over an axis of the file's value, which is kept with size 1 or not. */
NTK_CHECKED ntk_status ntk_build_mean(ntk_build *b, const char *layer, const char *what,
                                      int64_t axis, bool keep);
/* A parameter tensor, N(0, deviation^2) from a random stream of its own. */
NTK_CHECKED ntk_status ntk_build_parameter(ntk_build *b, const char *name,
                                           const ntk_shape *shape, double deviation);
/* A parameter or a buffer whose elements are equal. */
NTK_CHECKED ntk_status ntk_build_gain(ntk_build *b, const char *name,
                                      const ntk_shape *shape, double value);
NTK_CHECKED ntk_status ntk_build_buffer(ntk_build *b, const char *name,
                                        const ntk_shape *shape, double value);
/* The value `name` times a number as LAYER.WHAT, in `out`; itself where the number is 1.
 * What is in hand stays there. */
NTK_CHECKED ntk_status ntk_build_scaled(ntk_build *b, const char *name, const char *layer,
                                        const char *what, double factor,
                                        char out[NTK_BUILD_NAME]);

/* Weight and bias, scaled as parametrize.c says. */
/* On a vector. Standard: Gemm with W [out, in] as torch stores it; else MatMul with
 * W [in, out]. */
NTK_CHECKED ntk_status ntk_build_dense(ntk_build *b, const char *layer, int64_t outputs);
/* On the last axis, by MatMul with W [in, out] and Add. */
NTK_CHECKED ntk_status ntk_build_linear(ntk_build *b, const char *layer, int64_t outputs);
/* The output layer, named head, on a vector; behind the mean over an image's pixels. */
NTK_CHECKED ntk_status ntk_build_head(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_pooled_head(ntk_build *b);

/* A square window, and what a convolution does with it. */
typedef struct ntk_filter {
  int64_t channels, kernel, stride, pad;
  int64_t groups; /* 0: one */
  bool without_bias;
} ntk_filter;
NTK_CHECKED ntk_status ntk_build_convolution(ntk_build *b, const char *layer,
                                             ntk_filter filter);
/* Convolution and, with --norm batch, BatchNormalization in place of the bias; and the
 * activation behind them. */
NTK_CHECKED ntk_status ntk_build_normal_convolution(ntk_build *b, const char *layer,
                                                    ntk_filter filter);
NTK_CHECKED ntk_status ntk_build_active_convolution(ntk_build *b, const char *layer,
                                                    ntk_filter filter);
/* BatchNormalization LAYER.norm with --norm batch (mean 0, variance 1), else nothing. */
NTK_CHECKED ntk_status ntk_build_batch_norm(ntk_build *b, const char *layer);

/* MaxPool or AveragePool. */
NTK_CHECKED ntk_status ntk_build_pool(ntk_build *b, const char *op, const char *layer,
                                      int64_t kernel, int64_t stride, int64_t pad);
NTK_CHECKED ntk_status ntk_build_activation(ntk_build *b, const char *layer);
NTK_CHECKED ntk_status ntk_build_flatten(ntk_build *b);
/* Refuses a sample that is no image. */
NTK_CHECKED ntk_status ntk_build_require_image(const ntk_build *b);

#endif
