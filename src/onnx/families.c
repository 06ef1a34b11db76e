/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/families.h"

#include <scantk/model.h>
#include <stdio.h>
#include <string.h>

enum {
  ACT = NTK_HAS_ACTIVATION,
  IMAGE = NTK_HAS_WIDTH | NTK_HAS_NORM | ACT,
  LAYERS = NTK_HAS_WIDTH | NTK_HAS_DEPTH,
  BLOCKS = LAYERS | ACT,
  RESNET = IMAGE | NTK_HAS_STEM
};

#define RESNET_HELP                                                                        \
  "residual (He et al. 2015); stem for small images unless --stem imagenet"
#define VGG_HELP                                                                           \
  "plain 3x3 convolutions; pools that do not fit are left out, features larger than 7x7 "  \
  "averaged to it"

static const ntk_family families[] = {
    {"fcn", ntk_build_fcn, BLOCKS, "784", "relu", 512, 3, .help = "fully connected"},
    {"cnn", ntk_build_cnn, IMAGE | NTK_HAS_DEPTH, "1x28x28", "relu", 64, 3,
     .help = "3x3 convolutions, all but the first with stride 2, mean over pixels"},
    {"lenet5", ntk_build_lenet5, ACT, "1x28x28", "relu", 0, 0,
     .help = "LeCun et al. 1998 with max-pools"},
    {"alexnet", ntk_build_alexnet, NTK_HAS_WIDTH | ACT, "3x32x32", "relu", 64, 0,
     .help = "Krizhevsky 2014 as in torchvision; pools that do not fit are left out, "
             "features larger than 6x6 averaged to it"},
    {"vgg11", ntk_build_vgg, IMAGE, "3x32x32", "relu", 64, 0, .blocks = {1, 1, 2, 2, 2},
     .help = VGG_HELP},
    {"vgg16", ntk_build_vgg, IMAGE, "3x32x32", "relu", 64, 0, .blocks = {2, 2, 3, 3, 3},
     .help = VGG_HELP},
    {"resnet18", ntk_build_resnet, RESNET, "3x32x32", "relu", 64, 0, .blocks = {2, 2, 2, 2},
     .help = RESNET_HELP},
    {"resnet34", ntk_build_resnet, RESNET, "3x32x32", "relu", 64, 0, .blocks = {3, 4, 6, 3},
     .help = RESNET_HELP},
    {"resnet50", ntk_build_resnet, RESNET, "3x32x32", "relu", 64, 0, .blocks = {3, 4, 6, 3},
     .bottleneck = true, .help = RESNET_HELP},
    {"resnet101", ntk_build_resnet, RESNET, "3x32x32", "relu", 64, 0,
     .blocks = {3, 4, 23, 3}, .bottleneck = true, .help = RESNET_HELP},
    {"resnet152", ntk_build_resnet, RESNET, "3x32x32", "relu", 64, 0,
     .blocks = {3, 8, 36, 3}, .bottleneck = true, .help = RESNET_HELP},
    {"wideresnet", ntk_build_wide_resnet, IMAGE | NTK_HAS_DEPTH, "3x32x32", "relu", 10, 28,
     .help = "residual (Zagoruyko and Komodakis 2016): depth 6 n + 4, width times 16, 32 "
             "and 64 channels"},
    {"mobilenet", ntk_build_mobilenet, RESNET, "3x32x32", "relu", 32, 0,
     .help = "depthwise-separable convolutions (Howard et al. 2017)"},
    {"mixer", ntk_build_mixer, BLOCKS | NTK_HAS_PATCH, "3x32x32", "gelu", 192, 6,
     .help = "MLP-Mixer (Tolstikhin et al. 2021)"},
    {"vit", ntk_build_vit, BLOCKS | NTK_HAS_PATCH | NTK_HAS_HEADS, "3x32x32", "gelu", 192,
     6, .help = "Vision Transformer (Dosovitskiy et al. 2021)"},
    {"gpt", ntk_build_gpt, BLOCKS | NTK_HAS_HEADS | NTK_HAS_TOKENS, "32", "gelu", 192, 6,
     .help = "decoder on integers 0, 1, ... (Radford et al. 2019), output at the last"},
    {"lstm", ntk_build_lstm, LAYERS, "28x28", "tanh", 128, 1,
     .help = "LSTM layers over STEPSxFEATURES, output behind the last step"},
};

enum { COUNT = sizeof families / sizeof *families };

const ntk_family *ntk_family_find(const char *name) {
  for (int i = 0; i < COUNT; ++i)
    if (strcmp(families[i].name, name) == 0)
      return &families[i];
  return NULL;
}

ntk_status ntk_family_unknown(const char *name) {
  char names[512];
  int length = 0;
  for (int i = 0; i < COUNT && length < (int)sizeof names; ++i)
    length += snprintf(names + length, sizeof names - (size_t)length, "%s%s",
                       i == 0 ? "" : ", ", families[i].name);
  return ntk_fail(NTK_ERR_ARGUMENT, "unknown family %s: choose one of %s", name, names);
}

bool ntk_model_family(int index, ntk_family_info *out) {
  if (index < 0 || index >= COUNT)
    return false;
  const ntk_family *f = &families[index];
  *out = (ntk_family_info){.name = f->name,
                           .input = f->input,
                           .width = f->width,
                           .depth = f->depth,
                           .activation = f->has & NTK_HAS_ACTIVATION ? f->activation : NULL,
                           .help = f->help};
  return true;
}
