/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/op.h"
#include "onnx/model.h"
#include <inttypes.h>

static ntk_status describe_words(const ntk_model *model, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *g = model->graph;
  const ntk_model_info info = ntk_model_get_info(model);
  char shape[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_text_add(text, "model       %s\nproducer    %s, opset %d\n", model->path,
                       *model->producer ? model->producer : "(not named)", model->opset));
  for (int i = 0; i < g->input_count; i++) {
    const ntk_value *v = &g->values[g->inputs[i]];
    NTK_TRY(ntk_text_add(text, "input       %s %s %s\n", v->name, ntk_dtype_name(v->dtype),
                         ntk_shape_text(&v->shape, shape)));
  }
  for (int i = 0; i < g->output_count; i++) {
    const ntk_value *v = &g->values[g->outputs[i]];
    NTK_TRY(ntk_text_add(text, "output      %s %s\n", v->name,
                         ntk_shape_text(&v->shape, shape)));
  }
  NTK_TRY(ntk_text_add(text,
                       "outputs     %" PRId64 "\nparameters  %" PRId64 " in %" PRId64
                       " tensors\nnodes       %d\n",
                       info.outputs, info.parameters, info.parameter_tensors,
                       g->node_count));
  for (int i = 0; i < g->node_count; i++)
    NTK_TRY(ntk_text_add(text, "  %-22s %-24s %s\n", g->nodes[i].op->name,
                         ntk_shape_text(&g->values[g->nodes[i].outputs[0]].shape, shape),
                         g->nodes[i].name));
  NTK_TRY(ntk_text_add(text, "float tensors\n"));
  for (int i = 0; i < model->source_count; i++) {
    const ntk_source *s = &model->sources[i];
    NTK_TRY(ntk_text_add(text, "  %-10s %-24s %s: %s\n",
                         s->is_parameter ? "parameter" : "constant",
                         ntk_shape_text(&s->shape, shape), s->name, s->reason));
  }
done:
  return status;
}

static ntk_status list_values(const ntk_graph *g, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  char shape[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_text_add(text, "\"inputs\": ["));
  for (int i = 0; i < g->input_count; i++) {
    const ntk_value *v = &g->values[g->inputs[i]];
    NTK_TRY(ntk_text_add(text, "%s{\"name\": ", i ? ", " : ""));
    NTK_TRY(ntk_text_add_json(text, v->name));
    NTK_TRY(ntk_text_add(text, ", \"type\": \"%s\", \"shape\": %s}",
                         ntk_dtype_name(v->dtype), ntk_shape_text(&v->shape, shape)));
  }
  NTK_TRY(ntk_text_add(text, "], \"output_names\": ["));
  for (int i = 0; i < g->output_count; i++) {
    NTK_TRY(ntk_text_add(text, "%s", i ? ", " : ""));
    NTK_TRY(ntk_text_add_json(text, g->values[g->outputs[i]].name));
  }
  NTK_TRY(ntk_text_add(text, "], "));
done:
  return status;
}

static ntk_status describe_json(const ntk_model *model, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_model_info info = ntk_model_get_info(model);
  char shape[NTK_SHAPE_TEXT];
  NTK_TRY(ntk_text_add(text, "{\"kind\": \"model\", \"path\": "));
  NTK_TRY(ntk_text_add_json(text, model->path));
  NTK_TRY(ntk_text_add(text, ", \"producer\": "));
  NTK_TRY(ntk_text_add_json(text, model->producer));
  NTK_TRY(ntk_text_add(text,
                       ", \"opset\": %d, \"outputs\": %" PRId64 ", \"parameters\": %" PRId64
                       ", \"parameter_tensors\": %" PRId64 ", \"sha256\": \"%s\", ",
                       model->opset, info.outputs, info.parameters, info.parameter_tensors,
                       model->sha256));
  NTK_TRY(list_values(model->graph, text));
  NTK_TRY(ntk_text_add(text, "\"tensors\": ["));
  for (int i = 0; i < model->source_count; i++) {
    const ntk_source *s = &model->sources[i];
    NTK_TRY(ntk_text_add(text, "%s{\"name\": ", i ? ", " : ""));
    NTK_TRY(ntk_text_add_json(text, s->name));
    NTK_TRY(ntk_text_add(text, ", \"shape\": %s, \"parameter\": %s, \"reason\": ",
                         ntk_shape_text(&s->shape, shape),
                         s->is_parameter ? "true" : "false"));
    NTK_TRY(ntk_text_add_json(text, s->reason));
    NTK_TRY(ntk_text_add(text, "}"));
  }
  NTK_TRY(ntk_text_add(text, "]}\n"));
done:
  return status;
}

ntk_status ntk_model_describe(const ntk_model *model, bool json, ntk_text *text) {
  return json ? describe_json(model, text) : describe_words(model, text);
}
