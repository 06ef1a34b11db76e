/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_MODEL_H
#define NTK_ONNX_MODEL_H

#include "base/context.h"
#include "base/text.h"
#include "graph/graph.h"
#include <scantk/model.h>

/* Why a float tensor of the file is or is not a parameter; `info` lists these. */
typedef struct ntk_source {
  char *name;
  int value; /* in the graph, -1: gone by folding */
  bool is_parameter;
  const char *reason; /* static text */
  ntk_shape shape;
} ntk_source;

struct ntk_model {
  ntk_context *context; /* borrowed */
  char *path;           /* "" from memory */
  char *producer;
  int opset;
  ntk_graph *graph; /* owned */
  int source_count;
  ntk_source *sources;
  char *options;             /* text the model was read with */
  char sha256[65];           /* of the file and its external data, hex */
  char parameter_digest[33]; /* XXH3-128 over names, shapes and elements, hex */
  char *batch_axis;          /* what was bound, in words, for the provenance */
};

/* Adds the description of a model to text, JSON where `json`. Local. */
NTK_CHECKED ntk_status ntk_model_describe(const ntk_model *model, bool json,
                                          ntk_text *text);

#endif
