/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_BUILD_H
#define NTK_ONNX_BUILD_H

#include "onnx/import.h"
#include "onnx/names.h"

/* Private to src/onnx: a graph under construction. */

enum { NTK_LEFT_OUT = 1 << 30 }; /* in the place of a value: an input that is not given */

/* Rows of operators say 22; what later versions up to here changed, but for element types,
 * `infer` looks at. */
enum { NTK_KNOWN_OPSET = 22, NTK_NEWEST_OPSET = 28 };

/* The names of the file's graph, or of one body in it (of a function, of If, Loop, Scan).
 */
typedef struct ntk_scope {
  struct ntk_scope *outer; /* whose names are seen too; NULL: no other's */
  char *prefix;            /* of names in the graph; owned */
  int opset, depth;
  const Onnx__FunctionProto *function; /* attributes refer to those of `call`; or NULL */
  const Onnx__NodeProto *call;
  ntk_names values; /* name -> value or NTK_LEFT_OUT */
  ntk_names wanted; /* names that live nodes or outputs read */
} ntk_scope;

typedef struct ntk_builder {
  const ntk_import *import;
  int64_t batch;
  bool probe;
  int64_t added; /* nodes so far */
  ntk_graph *graph;
  ntk_names initializers; /* name -> initializer */
  ntk_scope root, *scope; /* the file's graph; the one nodes are added to */
} ntk_builder;

/* Name of a node for messages. */
const char *ntk_proto_name(const Onnx__NodeProto *node);
/* Attribute by name, NULL. */
const Onnx__AttributeProto *ntk_proto_attribute(const Onnx__NodeProto *node,
                                                const char *name);

/* Value of a name in the scope; a source comes in when it is read first. -1: none yet. */
NTK_CHECKED ntk_status ntk_builder_find(ntk_builder *b, const char *name, int64_t *value);
/* Gives a value a (further) name in the scope. */
NTK_CHECKED ntk_status ntk_builder_bind(ntk_builder *b, const char *name, int value);
/* Adds the live nodes in an order in which each finds its operands. */
NTK_CHECKED ntk_status ntk_builder_add_nodes(ntk_builder *b, size_t count,
                                             Onnx__NodeProto *const *nodes,
                                             const bool *live);
/* Counts a node, or a turn of a loop, whose body may have none; NTK_ERR_UNSUPPORTED: that
 * is one too many. */
NTK_CHECKED ntk_status ntk_builder_count(ntk_builder *b);
/* A node of one output, which takes over the attributes; infers and folds it. */
NTK_CHECKED ntk_status ntk_builder_emit(ntk_builder *b, const char *name, const ntk_op *op,
                                        int opset, int count, const int *inputs,
                                        ntk_attribute *attribute, int *value);

/* references.c: a node with attributes that refer to those of the function's call, or to
 * the function's defaults, replaced by these, and taken out where there are none. The node
 * borrows from the model and from here. */
typedef struct ntk_references {
  Onnx__NodeProto node;
  Onnx__AttributeProto **list, *copies, **defaults;
  size_t default_count;
} ntk_references;
NTK_CHECKED ntk_status ntk_references_resolve(const ntk_scope *scope,
                                              const Onnx__NodeProto *node,
                                              ntk_references *references);
void ntk_references_clear(ntk_references *references);

/* live.c: marks the nodes that the wanted names need, and makes wanted what they read,
 * their bodies included. */
NTK_CHECKED ntk_status ntk_live_find(size_t count, Onnx__NodeProto *const *nodes,
                                     ntk_names *wanted, bool *live);

#endif
