/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"
#include "onnx/names.h"
#include "onnx/tensors.h"
#include "ops/ops.h"
#include <stdio.h>
#include <string.h>

/* The parameter rule of design section 2. Its errors would be silent, so that where the
 * file leaves doubt it is refused or the user is told. */

enum { MAX_DEPTH = 64 }; /* of functions in functions */

/* How a candidate is used, slot by slot. */
typedef struct usage {
  int slots, not_parameter, parameter_slot, elementwise, buffer;
} usage;

static bool is_type(const Onnx__NodeProto *node, const char *type) {
  return node->op_type && strcmp(node->op_type, type) == 0;
}

static bool is_float(const Onnx__TensorProto *tensor) {
  switch (tensor->data_type) {
  case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
  case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
  case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
  case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
    return true;
  default:
    return false;
  }
}

const ntk_candidate *ntk_candidate_named(const ntk_import *import, const char *name) {
  for (int i = 0; i < import->candidate_count; i++)
    if (strcmp(import->candidates[i].name, name) == 0)
      return &import->candidates[i];
  return NULL;
}

static ntk_status add_candidate(ntk_import *import, const char *name,
                                const Onnx__TensorProto *tensor) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, import->candidate_count + 1,
                      sizeof(ntk_candidate), &import->candidates));
  import->candidates[import->candidate_count++] =
      (ntk_candidate){.name = name, .tensor = tensor};
done:
  return status;
}

static const Onnx__TensorProto *constant_value(const Onnx__NodeProto *node) {
  for (size_t i = 0; is_type(node, "Constant") && i < node->n_attribute; i++)
    if (node->attribute[i]->name && strcmp(node->attribute[i]->name, "value") == 0)
      return node->attribute[i]->t;
  return NULL;
}

/* Initializers, Identities of initializers, and (on request) Constant nodes. */
static ntk_status list_candidates(ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  const bool constants = ntk_options_flag(import->options, "parameters-from-constants");
  ntk_names initializers = {0};
  for (int64_t i = 0; i < import->initializer_count; i++) {
    const Onnx__TensorProto *tensor = import->initializers[i];
    if (!is_float(tensor))
      continue;
    NTK_TRY(ntk_names_set(&initializers, tensor->name, i));
    NTK_TRY(add_candidate(import, tensor->name, tensor));
  }
  for (size_t i = 0; i < g->n_node; i++) {
    const Onnx__NodeProto *node = g->node[i];
    const Onnx__TensorProto *tensor = constants ? constant_value(node) : NULL;
    if (is_type(node, "Identity") && node->n_input == 1) {
      const int64_t source = ntk_names_get(&initializers, node->input[0]);
      if (source >= 0)
        tensor = import->initializers[source];
    }
    if (tensor && is_float(tensor) && node->n_output == 1)
      NTK_TRY(add_candidate(import, node->output[0], tensor));
  }
done:
  ntk_names_clear(&initializers);
  return status;
}

static bool is_elementwise(const Onnx__NodeProto *node) {
  return is_type(node, "Add") || is_type(node, "Sub") || is_type(node, "Mul");
}

/* A count of slots: names of what is counted, and how often it may still go into the body
 * of a function. */
typedef struct counter {
  const ntk_import *import;
  const ntk_names *names;
  usage *uses;
  int *budget, depth;
} counter;

static ntk_status count_node(const counter *c, const Onnx__NodeProto *node);

/* What input k of a function is there: its slots in the body. */
static ntk_status look_into(const counter *c, const Onnx__FunctionProto *f, size_t k,
                            usage *inside) {
  ntk_status status = NTK_SUCCESS;
  ntk_names names = {0};
  const counter deeper = {c->import, &names, inside, c->budget, c->depth + 1};
  if (k >= f->n_input || c->depth > MAX_DEPTH || --*c->budget < 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_names_set(&names, f->input[k], 0));
  for (size_t i = 0; i < f->n_node; i++)
    NTK_TRY(count_node(&deeper, f->node[i]));
done:
  ntk_names_clear(&names);
  return status;
}

/* Input k of a node, as one slot. */
static ntk_status count_slot(const counter *c, const Onnx__NodeProto *node, size_t k,
                             usage *use) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__FunctionProto *function = ntk_function_find(c->import, node);
  const ntk_composite *composite = ntk_composite_find(node);
  const ntk_op *op = ntk_op_find(node->op_type ? node->op_type : "");
  unsigned never = op ? op->not_parameter : 0, slots = op ? op->parameter_slot : 0;
  unsigned buffers = 0;
  usage inside = {0};
  use->slots++;
  if (function) {
    NTK_TRY(look_into(c, function, k, &inside));
    use->not_parameter += inside.slots > 0 && inside.not_parameter == inside.slots;
    use->parameter_slot += inside.parameter_slot > 0;
    goto done;
  }
  if (composite) {
    never = composite->not_parameter;
    slots = composite->parameter_slot;
    buffers = composite->buffer_slot;
  }
  use->elementwise += is_elementwise(node);
  use->buffer += k < 32 && (buffers >> k & 1);
  use->not_parameter += k < 32 && (never >> k & 1);
  use->parameter_slot += k < 32 && (slots >> k & 1);
done:
  return status;
}

/* The slots of a node and of the bodies in it. */
static ntk_status count_node(const counter *c, const Onnx__NodeProto *node) {
  ntk_status status = NTK_SUCCESS;
  for (size_t k = 0; k < node->n_input; k++) {
    const int64_t at = ntk_names_get(c->names, node->input[k]);
    if (at >= 0)
      NTK_TRY(count_slot(c, node, k, &c->uses[at]));
  }
  for (size_t i = 0; i < node->n_attribute; i++) {
    const Onnx__GraphProto *body = node->attribute[i]->g;
    for (size_t k = 0; body && k < body->n_node; k++)
      NTK_TRY(count_node(c, body->node[k]));
    for (size_t k = 0; body && k < body->n_output; k++) {
      const int64_t at =
          body->output[k]->name ? ntk_names_get(c->names, body->output[k]->name) : -1;
      if (at >= 0)
        c->uses[at].slots++;
    }
  }
done:
  return status;
}

/* Slots of live nodes that read each candidate; an Identity that is a source itself is
 * none. */
static ntk_status count_uses(const ntk_import *import, usage *uses) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  ntk_names names = {0};
  int budget = 1 << 16;
  const counter c = {import, &names, uses, &budget, 0};
  for (int i = 0; i < import->candidate_count; i++)
    NTK_TRY(ntk_names_set(&names, import->candidates[i].name, i));
  for (size_t i = 0; i < g->n_node; i++) {
    const Onnx__NodeProto *node = g->node[i];
    const bool is_source =
        is_type(node, "Identity") && ntk_names_get(&names, node->output[0]) >= 0;
    if (import->live[i] && !is_source)
      NTK_TRY(count_node(&c, node));
  }
done:
  ntk_names_clear(&names);
  return status;
}

/* ---- what the file says ---------------------------------------------------------------
 */

static const char *metadata(const ntk_import *import) {
  for (size_t i = 0; i < import->proto->n_metadata_props; i++) {
    const Onnx__StringStringEntryProto *entry = import->proto->metadata_props[i];
    if (entry->key && strcmp(entry->key, "scantk.parameters") == 0)
      return entry->value ? entry->value : "";
  }
  return NULL;
}

/* Next string of a JSON array of strings, its escapes resolved in place; NULL: no more. */
static char *next_word(char **at) {
  char *word = strchr(*at, '"');
  if (!word)
    return NULL;
  *at = ++word;
  (void)ntk_json_string(at);
  return word;
}

/* The names that the file gives; each must be a tensor in it. *text holds them. */
static ntk_status read_names(const ntk_import *import, const char *json, char **text,
                             ntk_names *names) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_strdup(json, text));
  char *at = *text;
  for (const char *word; (word = next_word(&at));) {
    NTK_REQUIRE(ntk_candidate_named(import, word), NTK_ERR_FORMAT,
                "%s: the metadata name the parameter '%s', but no float tensor has this "
                "name",
                import->path, word);
    NTK_TRY(ntk_names_set(names, word, 1));
  }
done:
  return status;
}

static bool matches(const ntk_options *options, const char *option, const char *name) {
  const char *pattern;
  for (int i = 0; (pattern = ntk_options_repeated(options, option, i)); i++)
    if (ntk_glob_match(pattern, name))
      return true;
  return false;
}

/* A pattern that no tensor matches is a slip of the pen. */
static ntk_status check_patterns(const ntk_import *import, const char *option) {
  const char *pattern;
  for (int i = 0; (pattern = ntk_options_repeated(import->options, option, i)); i++) {
    bool found = false;
    for (int c = 0; c < import->candidate_count && !found; c++)
      found = ntk_glob_match(pattern, import->candidates[c].name);
    if (!found)
      return ntk_fail(NTK_ERR_ARGUMENT, "%s: --%s %s: no float tensor has such a name",
                      import->path, option, pattern);
  }
  return NTK_SUCCESS;
}

/* Elements: one only? all equal? all zero? one not finite? */
typedef struct facts {
  bool single, equal, zero, nonfinite;
} facts;

static ntk_status find_facts(const ntk_import *import, const ntk_candidate *c, facts *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *tensor = NULL;
  NTK_TRY(ntk_onnx_tensor(c->tensor, import->block, &tensor));
  const int64_t n = ntk_shape_size(&tensor->shape);
  *out = (facts){.single = n == 1, .equal = true};
  out->nonfinite = ntk_find_nonfinite(tensor->dtype, tensor->data, n) >= 0;
  const double first = n > 0 ? ntk_tensor_real(tensor, 0) : 0;
  for (int64_t i = 1; i < n && out->equal; i++)
    out->equal = ntk_tensor_real(tensor, i) == first;
  out->zero = out->equal && first == 0;
done:
  ntk_tensor_destroy(&tensor);
  return status;
}

/* ---- the rule -------------------------------------------------------------------------
 */

/* By itself, and by --param. */
static void decide(const ntk_import *import, const ntk_names *named, const usage *use,
                   facts f, ntk_candidate *c) {
  const bool torch =
      import->proto->producer_name && strcmp(import->proto->producer_name, "pytorch") == 0;
  c->uses = use->slots;
  c->is_parameter = false;
  if (use->slots == 0)
    c->reason = "not used";
  else if (use->not_parameter == use->slots)
    c->reason = "statistics or bounds only";
  else if (matches(import->options, "param", c->name)) {
    c->is_parameter = true;
    c->reason = "named by --param";
  } else if (named) {
    c->is_parameter = ntk_names_get(named, c->name) >= 0;
    c->reason = c->is_parameter ? "named by the file" : "not named by the file";
  } else if (f.nonfinite)
    c->reason = "holds a value that is not finite (--param would make it one)";
  else if (f.zero && use->buffer == use->slots)
    c->reason = "zeros as a first state or mask (--param would make it a parameter)";
  else if (f.single && !torch && use->parameter_slot == 0)
    c->reason = "a single number (--param would make it one)";
  else {
    c->is_parameter = true;
    c->reason = "a float tensor that is used";
  }
}

/* By --freeze and --only, whatever it would be. */
static void freeze(const ntk_import *import, const usage *use, ntk_candidate *c) {
  const ntk_options *o = import->options;
  c->is_trained = c->is_parameter;
  if (use->not_parameter == use->slots)
    return;
  if (matches(o, "freeze", c->name)) {
    c->is_parameter = false;
    c->reason = "frozen (--freeze)";
  } else if (ntk_options_given(o, "only") && !matches(o, "only", c->name)) {
    c->is_parameter = false;
    c->reason = "frozen (not in --only)";
  }
}

/* Without the file's word: a tensor of equal elements in several places may be several that
 * the exporter merged. */
static ntk_status refuse_merged(const ntk_import *import, const ntk_candidate *c, facts f) {
  if (!c->is_parameter || c->uses < 2 || !f.equal ||
      matches(import->options, "tied", c->name))
    return NTK_SUCCESS;
  return ntk_fail(
      NTK_ERR_ARGUMENT,
      "%s: tensor '%s' is used in %d places and all its elements are equal: possibly "
      "merged by the exporter; export with scripts/export_torch.py, or say --tied %s",
      import->path, c->name, c->uses, c->name);
}

static ntk_status warn_of_buffers(ntk_context *context, const ntk_import *import,
                                  const usage *uses) {
  ntk_status status = NTK_SUCCESS;
  ntk_text list = {0};
  for (int i = 0; i < import->candidate_count; i++) {
    const ntk_candidate *c = &import->candidates[i];
    int axes = 0;
    for (size_t k = 0; k < c->tensor->n_dims; k++)
      axes += c->tensor->dims[k] > 1;
    if (c->is_parameter && ((axes > 1 && uses[i].elementwise == uses[i].slots) ||
                            uses[i].buffer == uses[i].slots))
      NTK_TRY(ntk_text_add(&list, "%s%s", list.length ? ", " : "", c->name));
  }
  if (list.length)
    ntk_say(context, NTK_REPORT_WARNING,
            "%s: added to or multiplied with data, or first states, as buffers are: %s; "
            "--freeze them if "
            "they are "
            "no parameters",
            import->path, list.data);
done:
  ntk_text_clear(&list);
  return status;
}

ntk_status ntk_candidates_find(ntk_context *context, ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const char *json = metadata(import);
  const ntk_names *named = NULL;
  ntk_names names = {0};
  char *text = NULL;
  usage *uses = NULL;
  NTK_TRY(list_candidates(import));
  NTK_TRY(check_patterns(import, "param"));
  NTK_TRY(check_patterns(import, "freeze"));
  NTK_TRY(check_patterns(import, "only"));
  NTK_TRY(check_patterns(import, "tied"));
  if (json) {
    NTK_TRY(read_names(import, json, &text, &names));
    named = &names;
  }
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, import->candidate_count, sizeof *uses, &uses));
  NTK_TRY(count_uses(import, uses));
  for (int i = 0; i < import->candidate_count; i++) {
    facts f = {0};
    if (uses[i].slots > 0 && !named)
      NTK_TRY(find_facts(import, &import->candidates[i], &f));
    decide(import, named, &uses[i], f, &import->candidates[i]);
    freeze(import, &uses[i], &import->candidates[i]);
    if (!named)
      NTK_TRY(refuse_merged(import, &import->candidates[i], f));
  }
  if (!named) {
    NTK_TRY(ntk_torch_check(import));
    NTK_TRY(warn_of_buffers(context, import, uses));
  }
done:
  ntk_free(&uses);
  ntk_free(&text);
  ntk_names_clear(&names);
  return status;
}
