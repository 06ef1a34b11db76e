/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/build.h"
#include <string.h>

/* What the outputs of a graph need. */

const char *ntk_proto_name(const Onnx__NodeProto *node) {
  return node->name && *node->name ? node->name
         : node->n_output          ? node->output[0]
                                   : "(unnamed)";
}

const Onnx__AttributeProto *ntk_proto_attribute(const Onnx__NodeProto *node,
                                                const char *name) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->name && strcmp(node->attribute[i]->name, name) == 0)
      return node->attribute[i];
  return NULL;
}

static ntk_status want_inputs(ntk_names *wanted, const Onnx__NodeProto *node);

/* A body reads names of the graph around it; those that are its own do no harm. */
static ntk_status want_body(ntk_names *wanted, const Onnx__GraphProto *body) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < body->n_node; i++)
    NTK_TRY(want_inputs(wanted, body->node[i]));
  for (size_t i = 0; i < body->n_output; i++)
    if (body->output[i]->name)
      NTK_TRY(ntk_names_set(wanted, body->output[i]->name, 1));
done:
  return status;
}

static ntk_status want_inputs(ntk_names *wanted, const Onnx__NodeProto *node) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < node->n_input; i++)
    NTK_TRY(ntk_names_set(wanted, node->input[i], 1));
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->g)
      NTK_TRY(want_body(wanted, node->attribute[i]->g));
done:
  return status;
}

ntk_status ntk_live_find(size_t count, Onnx__NodeProto *const *nodes, ntk_names *wanted,
                         bool *live) {
  ntk_status status = NTK_SUCCESS;
  /* files list nodes in order, so that one pass from the end suffices; others take more */
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = count; i-- > 0;) {
      const Onnx__NodeProto *node = nodes[i];
      for (size_t k = 0; k < node->n_output && !live[i]; k++)
        if (node->output[k][0] && ntk_names_get(wanted, node->output[k]) >= 0) {
          live[i] = changed = true;
          NTK_TRY(want_inputs(wanted, node));
        }
    }
  }
done:
  return status;
}

/* ---- the file's graph -----------------------------------------------------------------
 */

static ntk_status list_values(const Onnx__GraphProto *g, ntk_names *values) {
  ntk_status status = NTK_SUCCESS;
  for (size_t i = 0; i < g->n_input; i++)
    NTK_TRY(ntk_names_set(values, g->input[i]->name, 1));
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name)
      NTK_TRY(ntk_names_set(values, g->initializer[i]->name, 1));
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_output; k++)
      NTK_TRY(ntk_names_set(values, g->node[i]->output[k], 1));
  NTK_TRY(ntk_names_set(values, "", 1)); /* left out */
done:
  return status;
}

/* All that outputs need must be produced somewhere. */
static ntk_status check_produced(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  ntk_names values = {0};
  NTK_TRY(list_values(g, &values));
  for (size_t i = 0; i < import->output_count; i++)
    NTK_REQUIRE(ntk_names_get(&values, import->outputs[i]->name) >= 0, NTK_ERR_FORMAT,
                "%s: nothing produces output '%s'", import->path, import->outputs[i]->name);
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; import->live[i] && k < g->node[i]->n_input; k++)
      NTK_REQUIRE(ntk_names_get(&values, g->node[i]->input[k]) >= 0, NTK_ERR_FORMAT,
                  "%s: node '%s' reads '%s', which nothing produces", import->path,
                  ntk_proto_name(g->node[i]), g->node[i]->input[k]);
done:
  ntk_names_clear(&values);
  return status;
}

static ntk_status list_initializers(ntk_import *import, const Onnx__GraphProto *g) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL,
                      import->initializer_count + (int64_t)g->n_initializer,
                      sizeof *import->initializers, &import->initializers));
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name)
      import->initializers[import->initializer_count++] = g->initializer[i];
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_attribute; k++)
      if (g->node[i]->attribute[k]->g)
        NTK_TRY(list_initializers(import, g->node[i]->attribute[k]->g));
done:
  return status;
}

ntk_status ntk_graph_find_live(ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  NTK_TRY(list_initializers(import, g));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)g->n_node, sizeof(bool), &import->live));
  for (size_t i = 0; i < import->output_count; i++)
    NTK_TRY(ntk_names_set(&import->wanted, import->outputs[i]->name, 1));
  NTK_TRY(ntk_live_find(g->n_node, g->node, &import->wanted, import->live));
  NTK_TRY(check_produced(import));
done:
  return status;
}
