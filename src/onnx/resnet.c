/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"

#include <stdio.h>
#include <string.h>

/* Residual networks. A block is a list of convolutions beside the identity or, where the
 * shape changes, a 1x1 convolution. Normalisation and activation stand behind each
 * convolution, the last activation behind the sum; or in front of each convolution, also
 * of the 1x1 one. */
typedef struct block_kind {
  int count, strided; /* convolutions, and which has the stride */
  int64_t kernel[3];
  int64_t expansion; /* of the channels by the last */
  bool in_front;
} block_kind;

static const block_kind basic = {2, 0, {3, 3}, 1, false};
static const block_kind bottleneck = {3, 1, {1, 3, 1}, 4, false};
static const block_kind wide = {2, 0, {3, 3}, 1, true};

/* Normalisation and activation of what is in hand. */
static ntk_status activate(ntk_build *b, const char *layer) {
  ntk_status status;
  NTK_TRY(ntk_build_batch_norm(b, layer));
  NTK_TRY(ntk_build_activation(b, layer));
done:
  return status;
}

/* A convolution that ends a block's branch or shortcut. */
static ntk_status last_convolution(ntk_build *b, const char *layer, const block_kind *kind,
                                   ntk_filter filter) {
  filter.without_bias = b->batch_norm;
  return kind->in_front ? ntk_build_convolution(b, layer, filter)
                        : ntk_build_normal_convolution(b, layer, filter);
}

static ntk_status branch(ntk_build *b, const char *block, const block_kind *kind,
                         int64_t channels, int64_t stride) {
  ntk_status status = NTK_SUCCESS;
  char end[24], layer[NTK_BUILD_NAME];
  for (int i = 0; i < kind->count; ++i) {
    const bool last = i == kind->count - 1;
    const ntk_filter filter = {.channels = last ? channels * kind->expansion : channels,
                               .kernel = kind->kernel[i],
                               .stride = i == kind->strided ? stride : 1,
                               .pad = kind->kernel[i] / 2};
    snprintf(end, sizeof end, ".conv%d", i + 1);
    NTK_TRY(ntk_build_name(layer, block, end));
    NTK_TRY(last ? last_convolution(b, layer, kind, filter)
                 : ntk_build_active_convolution(b, layer, filter));
  }
done:
  return status;
}

static ntk_status residual_block(ntk_build *b, const char *block, const block_kind *kind,
                                 int64_t channels, int64_t stride) {
  ntk_status status = NTK_SUCCESS;
  char input[NTK_BUILD_NAME], layer[NTK_BUILD_NAME], end[NTK_BUILD_NAME];
  const ntk_shape shape = b->shape;
  const ntk_role role = b->role;
  const ntk_filter shortcut = {
      .channels = channels * kind->expansion, .kernel = 1, .stride = stride};
  const bool changes = stride != 1 || shape.dim[0] != shortcut.channels;
  memcpy(input, b->at, NTK_BUILD_NAME);
  if (kind->in_front)
    NTK_TRY(activate(b, block));
  if (changes)
    memcpy(input, b->at, NTK_BUILD_NAME);
  NTK_TRY(branch(b, block, kind, channels, stride));
  memcpy(end, b->at, NTK_BUILD_NAME);
  ntk_build_take(b, input);
  if (changes) {
    b->shape = shape;
    b->role = role;
    NTK_TRY(ntk_build_name(layer, block, ".shortcut"));
    NTK_TRY(last_convolution(b, layer, kind, shortcut));
  }
  NTK_TRY(ntk_build_node(b, "Add", block, "", end));
  if (!kind->in_front)
    NTK_TRY(ntk_build_activation(b, block));
done:
  return status;
}

/* Stages of blocks, each but the first with a stride of 2 and twice the channels. */
static ntk_status stages(ntk_build *b, int count, const int blocks[],
                         const block_kind *kind, int64_t channels) {
  ntk_status status = NTK_SUCCESS;
  char block[NTK_BUILD_NAME];
  for (int stage = 0; stage < count; ++stage)
    for (int i = 0; i < blocks[stage]; ++i) {
      snprintf(block, sizeof block, "stage%d.block%d", stage + 1, i + 1);
      NTK_TRY(
          residual_block(b, block, kind, channels << stage, stage > 0 && i == 0 ? 2 : 1));
    }
done:
  return status;
}

/* For small images 3x3 with stride 1; else 7x7 with stride 2 and a max-pool. */
static ntk_status stem(ntk_build *b) {
  ntk_status status;
  const bool large = b->imagenet_stem;
  NTK_TRY(ntk_build_active_convolution(b, "stem",
                                       (ntk_filter){.channels = b->width,
                                                    .kernel = large ? 7 : 3,
                                                    .stride = large ? 2 : 1,
                                                    .pad = large ? 3 : 1}));
  if (large)
    NTK_TRY(ntk_build_pool(b, "MaxPool", "stem.pool", 3, 2, 1));
done:
  return status;
}

/* He et al. 2015, the stride of a bottleneck in its 3x3 convolution as in torchvision. */
ntk_status ntk_build_resnet(ntk_build *b) {
  ntk_status status;
  NTK_TRY(ntk_build_require_image(b));
  NTK_TRY(stem(b));
  NTK_TRY(stages(b, 4, b->family->blocks, b->family->bottleneck ? &bottleneck : &basic,
                 b->width));
  NTK_TRY(ntk_build_pooled_head(b));
done:
  return status;
}

/* Zagoruyko and Komodakis 2016: depth 6 n + 4; 16, 32 and 64 channels times width. */
ntk_status ntk_build_wide_resnet(ntk_build *b) {
  ntk_status status;
  const int n = (int)(b->depth - 4) / 6;
  NTK_TRY(ntk_build_require_image(b));
  NTK_REQUIRE(n >= 1 && b->depth == 6 * n + 4, NTK_ERR_ARGUMENT,
              "--depth %lld: that of a wideresnet is 6 n + 4, as 10, 16, 22, 28 or 40",
              (long long)b->depth);
  NTK_TRY(ntk_build_convolution(b, "stem",
                                (ntk_filter){.channels = 16,
                                             .kernel = 3,
                                             .stride = 1,
                                             .pad = 1,
                                             .without_bias = b->batch_norm}));
  b->role = NTK_ROLE_INPUT; /* 16 channels do not grow */
  NTK_TRY(stages(b, 3, (int[]){n, n, n}, &wide, 16 * b->width));
  NTK_TRY(activate(b, "last"));
  NTK_TRY(ntk_build_pooled_head(b));
done:
  return status;
}
