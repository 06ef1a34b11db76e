/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/layers.h"

#include <math.h>

/* Parametrizations in the terms of Yang and Hu 2021, "Feature learning in infinite-width
 * neural networks" (Tensor Programs IV), Table 1: of a layer l of a network with width n
 *
 *   W_l = n^-a_l w_l,  w_l ~ N(0, n^-2b_l),  steps of gradient descent eta n^-c,
 *
 *                    input layer          hidden layers        output layer         c
 *   standard         a = 0,    b = 0      a = 0,   b = 1/2     a = 0,   b = 1/2     0
 *   ntk              a = 0,    b = 0      a = 1/2, b = 0       a = 1/2, b = 0       0
 *   mup              a = -1/2, b = 1/2    a = 0,   b = 1/2     a = 1/2, b = 1/2     0
 *
 * With c = 0 everywhere the kernel is that of gradient descent with one step for all: it
 * grows as n in the first row and has a limit in the other two; f itself vanishes as
 * n^-1/2 in the last. What does not grow with n stands in w or W as v/fan_in. What is added
 * to a layer and what scales its channels counts as an input layer whose input is 1
 * (Yang et al. 2022, "Tensor Programs V", Table 3: "input weights and all biases"), but for
 * the biases of the output layer, which has no n outputs: a = b = 0. */

ntk_scale ntk_weight_scale(const ntk_build *b, int64_t fan_in, int64_t fan_out) {
  const double deviation = sqrt(b->variance / (double)fan_in);
  const double root = sqrt((double)fan_out);
  if (b->scheme == NTK_NEURAL_TANGENT)
    return (ntk_scale){deviation, 1};
  if (b->scheme == NTK_MAXIMAL_UPDATE && b->role == NTK_ROLE_INPUT)
    return (ntk_scale){root, deviation / root};
  if (b->scheme == NTK_MAXIMAL_UPDATE && b->role == NTK_ROLE_OUTPUT)
    return (ntk_scale){1 / sqrt((double)fan_in), deviation};
  return (ntk_scale){1, deviation};
}

ntk_scale ntk_bias_scale(const ntk_build *b, int64_t size, double deviation) {
  const double root = sqrt((double)size);
  if (b->scheme == NTK_NEURAL_TANGENT)
    return (ntk_scale){b->bias_scale, 1};
  if (b->scheme == NTK_MAXIMAL_UPDATE && b->role != NTK_ROLE_OUTPUT)
    return (ntk_scale){root, deviation / root};
  return (ntk_scale){1, deviation};
}

ntk_scale ntk_gain_scale(const ntk_build *b, int64_t size) {
  const double root = sqrt((double)size);
  if (b->scheme == NTK_MAXIMAL_UPDATE)
    return (ntk_scale){root, 1 / root};
  return (ntk_scale){1, 1};
}
