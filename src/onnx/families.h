/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_FAMILIES_H
#define NTK_ONNX_FAMILIES_H

#include "onnx/layers.h"

/* The families of networks that we write: one row each (families.c), from which help and
 * errors list them. Private to src/onnx; all local. */
enum { /* options that a family has besides those of all */
       NTK_HAS_WIDTH = 1,
       NTK_HAS_DEPTH = 2,
       NTK_HAS_PATCH = 4,
       NTK_HAS_HEADS = 8,
       NTK_HAS_NORM = 16,
       NTK_HAS_STEM = 32,
       NTK_HAS_TOKENS = 64, /* vocabulary and head; its input is integers */
       NTK_HAS_ACTIVATION = 128
};

struct ntk_family {
  const char *name;
  /* From the value in hand to the network's output. */
  ntk_status (*build)(ntk_build *b);
  unsigned has;
  const char *input, *activation; /* where they are not given */
  int64_t width, depth;
  int blocks[5];   /* resnets: of each stage; vgg: convolutions between two pools */
  bool bottleneck; /* resnets: which block */
  const char *help;
};

const ntk_family *ntk_family_find(const char *name);
/* NTK_ERR_ARGUMENT with the names that there are. */
NTK_CHECKED ntk_status ntk_family_unknown(const char *name);

/* plain.c: layer behind layer. */
NTK_CHECKED ntk_status ntk_build_fcn(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_cnn(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_lenet5(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_vgg(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_alexnet(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_mobilenet(ntk_build *b);
/* resnet.c */
NTK_CHECKED ntk_status ntk_build_resnet(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_wide_resnet(ntk_build *b);
/* vit.c, mixer.c, gpt.c, lstm.c */
NTK_CHECKED ntk_status ntk_build_vit(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_mixer(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_gpt(ntk_build *b);
NTK_CHECKED ntk_status ntk_build_lstm(ntk_build *b);

#endif
