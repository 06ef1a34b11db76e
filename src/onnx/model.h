/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_MODEL_H
#define NTK_ONNX_MODEL_H

#include "base/context.h"
#include "base/text.h"
#include "dist/shared.h"
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
  ntk_context *context;  /* borrowed */
  char *path;            /* "" from memory */
  char *parameters_path; /* of --parameters; NULL: none */
  char *producer;
  int opset;
  ntk_shared *block;    /* elements of large tensors, one for all ranks of a node */
  ntk_shared *replaced; /* elements given with --parameters that do not stand there */
  int given_count;
  ntk_shared *
      *given;       /* elements given with ntk_model_set_parameter that stand in neither */
  int64_t settings; /* of parameters since it was read */
  bool is_settled;  /* parameter_digest is of the values as they are */
  ntk_graph *graph; /* owned; borrows from the blocks */
  int source_count;
  ntk_source *sources;
  bool lacks_weights;        /* some are made up */
  char *options;             /* text the model was read with */
  char sha256[65];           /* of the file and its external data, hex */
  char parameter_digest[33]; /* XXH3-128 over names, shapes and elements, hex */
  char others_digest[33];    /* the same of tensors given with --parameters that are no
                                parameters; "": none were */
  char *batch_axis;          /* what was bound, in words, for the provenance */
  char *output;              /* the one output to take, "": all */
};

/* NTK_ERR_FILE where weights are made up. Local, the same on all ranks. */
NTK_CHECKED ntk_status ntk_model_check_weights(const ntk_model *model);

/* NTK_ERR_NO_PARAMETERS, with the reasons, where no tensor is a parameter. Local, the same
 * on all ranks. */
NTK_CHECKED ntk_status ntk_model_check_parameters(const ntk_model *model);

/* The digest of the parameters as they are, on all ranks; before it is used. Collective. */
NTK_CHECKED ntk_status ntk_model_settle(ntk_model *model);

/* Adds the description of a model to text, JSON where `json`. Local. */
NTK_CHECKED ntk_status ntk_model_describe(const ntk_model *model, bool json,
                                          ntk_text *text);

#endif
