/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"

#include <stdio.h>

/* Networks of one layer behind the other. */

/* A hidden layer on a vector. */
static ntk_status active_dense(ntk_build *b, const char *layer, int64_t outputs) {
  ntk_status status;
  NTK_TRY(ntk_build_dense(b, layer, outputs));
  NTK_TRY(ntk_build_activation(b, layer));
done:
  return status;
}

ntk_status ntk_build_fcn(ntk_build *b) {
  ntk_status status = NTK_SUCCESS;
  char layer[NTK_BUILD_NAME];
  if (b->shape.ndim != 1)
    NTK_TRY(ntk_build_flatten(b));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "hidden%lld", (long long)i);
    NTK_TRY(active_dense(b, layer, b->width));
  }
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

ntk_status ntk_build_cnn(ntk_build *b) {
  ntk_status status;
  char layer[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_require_image(b));
  for (int64_t i = 0; i < b->depth; ++i) {
    snprintf(layer, sizeof layer, "conv%lld", (long long)i);
    NTK_TRY(ntk_build_active_convolution(
        b, layer,
        (ntk_filter){
            .channels = b->width, .kernel = 3, .stride = i == 0 ? 1 : 2, .pad = 1}));
  }
  NTK_TRY(ntk_build_pooled_head(b));
done:
  return status;
}

/* LeCun et al. 1998 with max-pools: 6 and 16 channels, 120, 84. */
ntk_status ntk_build_lenet5(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_require_image(b));
  const int64_t *dim = b->shape.dim;
  NTK_REQUIRE((dim[0] == 1 || dim[0] == 3) && dim[1] == dim[2] &&
                  (dim[1] == 28 || dim[1] == 32),
              NTK_ERR_ARGUMENT,
              "lenet5 takes --input 1x28x28, 3x28x28, 1x32x32 or 3x32x32, not "
              "%lldx%lldx%lld",
              (long long)dim[0], (long long)dim[1], (long long)dim[2]);
  const ntk_filter first = {
      .channels = 6, .kernel = 5, .stride = 1, .pad = dim[1] == 28 ? 2 : 0};
  NTK_TRY(ntk_build_active_convolution(b, "conv1", first));
  NTK_TRY(ntk_build_pool(b, "MaxPool", "pool1", 2, 2, 0));
  NTK_TRY(ntk_build_active_convolution(
      b, "conv2", (ntk_filter){.channels = 16, .kernel = 5, .stride = 1}));
  NTK_TRY(ntk_build_pool(b, "MaxPool", "pool2", 2, 2, 0));
  NTK_TRY(ntk_build_flatten(b));
  NTK_TRY(active_dense(b, "dense1", 120));
  NTK_TRY(active_dense(b, "dense2", 84));
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

/* A max-pool, left out where the image has become smaller than its window. */
static ntk_status pool_if_large(ntk_build *b, const char *layer, int64_t kernel) {
  if (b->shape.dim[1] < kernel || b->shape.dim[2] < kernel)
    return NTK_SUCCESS;
  return ntk_build_pool(b, "MaxPool", layer, kernel, 2, 0);
}

/* What torchvision's vgg and alexnet end in: features averaged to side x side where they
 * are larger, two hidden layers of 64 width neurons. */
static ntk_status classifier(ntk_build *b, int64_t side) {
  ntk_status status = NTK_SUCCESS;
  const int64_t *dim = b->shape.dim;
  if (dim[1] > side || dim[2] > side) {
    NTK_REQUIRE(dim[1] == dim[2] && dim[1] % side == 0, NTK_ERR_ARGUMENT,
                "--input: the features of %lldx%lld are averaged to %lldx%lld only from "
                "a square with a multiple of this side",
                (long long)dim[1], (long long)dim[2], (long long)side, (long long)side);
    NTK_TRY(ntk_build_pool(b, "AveragePool", "average", dim[1] / side, dim[1] / side, 0));
  }
  NTK_TRY(ntk_build_flatten(b));
  NTK_TRY(active_dense(b, "dense1", 64 * b->width));
  NTK_TRY(active_dense(b, "dense2", 64 * b->width));
  NTK_TRY(ntk_build_head(b));
done:
  return status;
}

/* Simonyan and Zisserman 2015; biases stay beside a normalisation. */
ntk_status ntk_build_vgg(ntk_build *b) {
  ntk_status status;
  char layer[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_require_image(b));
  for (int stage = 0; stage < 5; ++stage) {
    const int64_t channels = b->width << (stage < 4 ? stage : 3);
    for (int i = 0; i < b->family->blocks[stage]; ++i) {
      snprintf(layer, sizeof layer, "conv%d_%d", stage + 1, i + 1);
      NTK_TRY(ntk_build_convolution(
          b, layer,
          (ntk_filter){.channels = channels, .kernel = 3, .stride = 1, .pad = 1}));
      NTK_TRY(ntk_build_batch_norm(b, layer));
      NTK_TRY(ntk_build_activation(b, layer));
    }
    snprintf(layer, sizeof layer, "pool%d", stage + 1);
    NTK_TRY(pool_if_large(b, layer, 2));
  }
  NTK_TRY(classifier(b, 7));
done:
  return status;
}

/* Krizhevsky 2014, as in torchvision. */
ntk_status ntk_build_alexnet(ntk_build *b) {
  ntk_status status;
  static const struct {
    int64_t widths, kernel, stride, pad;
    const char *pool; /* behind it */
  } layers[] = {{1, 11, 4, 2, "pool1"},
                {3, 5, 1, 2, "pool2"},
                {6, 3, 1, 1, NULL},
                {4, 3, 1, 1, NULL},
                {4, 3, 1, 1, "pool5"}};
  char layer[NTK_BUILD_NAME];
  NTK_TRY(ntk_build_require_image(b));
  for (int i = 0; i < 5; ++i) {
    snprintf(layer, sizeof layer, "conv%d", i + 1);
    NTK_TRY(
        ntk_build_active_convolution(b, layer,
                                     (ntk_filter){.channels = layers[i].widths * b->width,
                                                  .kernel = layers[i].kernel,
                                                  .stride = layers[i].stride,
                                                  .pad = layers[i].pad}));
    if (layers[i].pool)
      NTK_TRY(pool_if_large(b, layers[i].pool, 3));
  }
  NTK_TRY(classifier(b, 6));
done:
  return status;
}

/* A 3x3 convolution of each channel by itself, then a 1x1 one of all. */
static ntk_status separable(ntk_build *b, int number, int64_t channels, int64_t stride) {
  ntk_status status;
  char layer[NTK_BUILD_NAME];
  const int64_t inputs = b->shape.dim[0];
  snprintf(layer, sizeof layer, "block%d.depthwise", number);
  NTK_TRY(ntk_build_active_convolution(
      b, layer,
      (ntk_filter){
          .channels = inputs, .kernel = 3, .stride = stride, .pad = 1, .groups = inputs}));
  snprintf(layer, sizeof layer, "block%d.pointwise", number);
  NTK_TRY(ntk_build_active_convolution(
      b, layer, (ntk_filter){.channels = channels, .kernel = 1, .stride = 1}));
done:
  return status;
}

/* Howard et al. 2017: 32 channels, then 13 depthwise-separable convolutions. */
ntk_status ntk_build_mobilenet(ntk_build *b) {
  ntk_status status;
  static const struct {
    int64_t widths, stride;
  } blocks[] = {{2, 1},  {4, 2},  {4, 1},  {8, 2},  {8, 1},  {16, 2}, {16, 1},
                {16, 1}, {16, 1}, {16, 1}, {16, 1}, {32, 2}, {32, 1}};
  NTK_TRY(ntk_build_require_image(b));
  NTK_TRY(ntk_build_active_convolution(b, "stem",
                                       (ntk_filter){.channels = b->width,
                                                    .kernel = 3,
                                                    .stride = b->imagenet_stem ? 2 : 1,
                                                    .pad = 1}));
  for (int i = 0; i < 13; ++i)
    NTK_TRY(separable(b, i + 1, blocks[i].widths * b->width, blocks[i].stride));
  NTK_TRY(ntk_build_pooled_head(b));
done:
  return status;
}
