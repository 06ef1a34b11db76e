/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_IMPORT_H
#define NTK_ONNX_IMPORT_H

#include "dist/shared.h"
#include "graph/op.h"
#include "onnx.pb-c.h"
#include "onnx/model.h"
#include "onnx/names.h"
#include <scantk/options.h>

/* Private to src/onnx: a file on its way to a graph. */

/* A float tensor of the file that may be a parameter: an initializer used directly, or an
 * Identity of one (design section 2), named by the Identity's output. */
typedef struct ntk_candidate {
  const char *name;
  const Onnx__TensorProto *tensor;
  bool is_parameter;
  const char *reason; /* static text */
  int uses;           /* operand slots */
  bool is_trained;    /* a parameter, or frozen by the user */
  ntk_tensor *value;  /* elements given with --parameters, borrowed; else NULL */
} ntk_candidate;

typedef struct ntk_import {
  const char *path;
  const char *bytes; /* [size] of the file, less elements of large tensors (slim.h) */
  int64_t size;
  const ntk_shared *block; /* these elements */
  Onnx__ModelProto *proto; /* owned */
  const Onnx__GraphProto *graph;
  const ntk_options *options;
  size_t output_count; /* of the graph, those that are wanted */
  Onnx__ValueInfoProto **outputs;
  int opset;
  bool *live;       /* [nodes] an output needs it */
  ntk_names wanted; /* names that live nodes or outputs read */
  int64_t initializer_count;
  const Onnx__TensorProto **initializers; /* with a name; of bodies, too */
  int candidate_count;
  ntk_candidate *candidates;
} ntk_import;

/* parameters.c: finds the candidates and decides which are parameters. */
NTK_CHECKED ntk_status ntk_candidates_find(ntk_context *context, ntk_import *import);
/* NULL: no float tensor of this name. */
const ntk_candidate *ntk_candidate_named(const ntk_import *import, const char *name);

/* replace.c: gives the candidates the elements that the file `path` has by their names; it
 * is read by rank 0. Collective. Where they fit they stand in the place of the old ones,
 * else in model->replaced. Errors: NTK_ERR_ARGUMENT (unknown, missing, misshapen, not
 * real), those of ntk_checkpoint_open. */
NTK_CHECKED ntk_status ntk_replace(ntk_model *model, ntk_import *import, const char *path);

/* digest.c: of the tensors given with --parameters that are no parameters. Collective. */
NTK_CHECKED ntk_status ntk_digest_others(const ntk_import *import, ntk_model *model);

/* torch.c: refuses a file without the metadata `scantk.parameters` in which PyTorch's
 * exporter folded, merged or dropped parameters. After ntk_candidates_find counted uses. */
NTK_CHECKED ntk_status ntk_torch_check(const ntk_import *import);

/* build.c: the graph with the batch axis bound to `batch`; probe: of shapes only (elements
 * of parameters are left out). */
NTK_CHECKED ntk_status ntk_graph_build(const ntk_import *import, int64_t batch, bool probe,
                                       ntk_graph **out);
/* live.c: marks the nodes that outputs need, and lists the initializers. */
NTK_CHECKED ntk_status ntk_graph_find_live(ntk_import *import);

/* inputs.c: each --shape must be NAME=n for an axis that has no other size. */
NTK_CHECKED ntk_status ntk_given_sizes_check(const ntk_import *import);
/* Shape of an input that is a tensor, its batch axis bound to `batch`; after the check. */
NTK_CHECKED ntk_status ntk_input_shape(const ntk_import *import,
                                       const Onnx__ValueInfoProto *input, int64_t batch,
                                       ntk_shape *shape);

/* batch.c: axis that counts samples in an input of the graph, -1: none; *must_follow: its
 * size is not a fixed 1. */
NTK_CHECKED ntk_status ntk_batch_axis(const ntk_import *import,
                                      const Onnx__ValueInfoProto *input, int *axis,
                                      bool *must_follow);
/* The graph of one sample; says so where the file works for its own batch size only. */
NTK_CHECKED ntk_status ntk_batch_build(const ntk_import *import, ntk_graph **out);
/* Refuses what mixes samples: compares the graph with one bound to a probe size. */
NTK_CHECKED ntk_status ntk_batch_check(const ntk_import *import, const ntk_graph *graph);

#endif
