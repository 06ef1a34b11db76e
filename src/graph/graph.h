/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_GRAPH_GRAPH_H
#define NTK_GRAPH_GRAPH_H

#include "tensor/tensor.h"

/* A graph is a function of ONE sample, f(theta, x) -> O numbers (design section 2). Values
 * and nodes are numbered; nodes stand in topological order. */

/* A value's role, found once by the importer. */
typedef enum ntk_role {
  NTK_CONSTANT,  /* the same for all: `constant` holds it, or, where it is large, a node
                    computes it like a parameter-side value */
  NTK_PARAMETER, /* depends on parameters only: held once. A source (producer -1) has its
                    elements in `constant`; others are computed by parameter-side nodes */
  NTK_DATA       /* depends on the sample: the run time puts a sample axis in front */
} ntk_role;

typedef struct ntk_value {
  char *name;
  ntk_role role;
  ntk_dtype dtype;      /* in the file; real ones are computed in the plan's type */
  ntk_shape shape;      /* of one sample, with the file's batch axis bound to 1 */
  int producer;         /* node, -1: source (initializer or input) */
  ntk_tensor *constant; /* elements of a constant or of a parameter source, else NULL */
} ntk_value;

/* Attributes as the file gives them. */
typedef enum ntk_attribute_kind {
  NTK_ATTRIBUTE_INT,
  NTK_ATTRIBUTE_FLOAT,
  NTK_ATTRIBUTE_STRING,
  NTK_ATTRIBUTE_INTS,
  NTK_ATTRIBUTE_FLOATS,
  NTK_ATTRIBUTE_TENSOR
} ntk_attribute_kind;
typedef struct ntk_attribute {
  char *name;
  ntk_attribute_kind kind;
  int64_t i;
  double f;
  char *s;
  int64_t count; /* of ints or floats */
  int64_t *ints;
  double *floats;
  ntk_tensor *tensor;
} ntk_attribute;

struct ntk_op;
typedef struct ntk_node {
  char *name; /* never NULL; the importer makes one up where the file has none */
  const struct ntk_op *op;
  int opset;                  /* version of the operator set the file declares */
  int input_count, *inputs;   /* values; -1: optional input left out */
  int output_count, *outputs; /* values; -1: not used */
  int attribute_count;
  ntk_attribute *attributes;
  void *detail; /* made by op->infer, freed with ntk_free */
} ntk_node;

typedef struct ntk_graph {
  int value_count;
  ntk_value *values;
  int node_count;
  ntk_node *nodes;
  int input_count, *inputs;         /* data inputs, in the file's order */
  int output_count, *outputs;       /* concatenated, flattened: O numbers */
  int parameter_count, *parameters; /* parameter sources, in the file's order */
} ntk_graph;

NTK_CHECKED ntk_status ntk_graph_create(ntk_graph **out);
void ntk_graph_destroy(ntk_graph **graph);
/* Appends a copy of the name; *index is the new value's number. */
NTK_CHECKED ntk_status ntk_graph_add_value(ntk_graph *graph, const char *name, int *index);
/* Appends an empty node with room for the counts (indices -1). Pointers into values and
 * nodes are invalid afterwards. */
NTK_CHECKED ntk_status ntk_graph_add_node(ntk_graph *graph, const char *name,
                                          const struct ntk_op *op, int inputs, int outputs,
                                          int *index);
/* Frees what a node holds; for the node that was added last, when it is taken back. */
void ntk_node_clear(ntk_node *node);
/* Takes out the nodes that no output needs, and the values that are then of no use; inputs
 * and parameter sources stay. */
NTK_CHECKED ntk_status ntk_graph_prune(ntk_graph *graph);
/* Number of elements of a value, of all inputs of a sample, O and P of the graph. */
int64_t ntk_graph_size(const ntk_graph *graph, int value);
int64_t ntk_graph_inputs(const ntk_graph *graph);
int64_t ntk_graph_outputs(const ntk_graph *graph);
int64_t ntk_graph_parameters(const ntk_graph *graph);

/* Attribute lookup with defaults; NULL / the default where it is missing. */
const ntk_attribute *ntk_node_attribute(const ntk_node *node, const char *name);
int64_t ntk_node_int(const ntk_node *node, const char *name, int64_t otherwise);
double ntk_node_float(const ntk_node *node, const char *name, double otherwise);
const char *ntk_node_string(const ntk_node *node, const char *name, const char *otherwise);

#endif
