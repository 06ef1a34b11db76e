/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* fmemopen */
#include "onnx/model.h"
#include "base/memory.h"
#include "dist/grid.h"
#include "onnx/import.h"
#include "onnx/slim.h"
#include "onnx/tensors.h"
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* ---- digests --------------------------------------------------------------------------
 */

static ntk_status add_file(EVP_MD_CTX *digest, FILE *file, const char *path) {
  ntk_status status = NTK_SUCCESS;
  const size_t piece = 65536;
  char *bytes = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)piece, 1, &bytes));
  rewind(file);
  for (size_t got; (got = fread(bytes, 1, piece, file)) > 0;)
    NTK_REQUIRE(EVP_DigestUpdate(digest, bytes, got) == 1, NTK_ERR_INTERNAL,
                "SHA-256 failed");
  NTK_REQUIRE(!ferror(file), NTK_ERR_FILE, "%s: cannot be read to its end", path);
done:
  ntk_free(&bytes);
  return status;
}

static ntk_status add_external(EVP_MD_CTX *digest, const char *path) {
  ntk_status status = NTK_SUCCESS;
  FILE *file = NULL;
  int64_t size;
  NTK_TRY(ntk_file_open(path, &file, &size));
  NTK_TRY(add_file(digest, file, path));
done:
  if (file)
    (void)fclose(file);
  return status;
}

/* The file, then its external files in order of first use. */
static ntk_status digest_file(FILE *file, const char *path, const ntk_elements *elements,
                              char hex[65]) {
  ntk_status status = NTK_SUCCESS;
  unsigned char sum[32];
  const char *last = NULL;
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  NTK_REQUIRE(digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1,
              NTK_ERR_INTERNAL, "SHA-256 failed");
  NTK_TRY(add_file(digest, file, path));
  for (int i = 0; i < elements->count; i++) {
    const char *external = elements->pieces[i].path;
    if (external && (!last || strcmp(last, external) != 0))
      NTK_TRY(add_external(digest, external));
    last = external ? external : last;
  }
  NTK_REQUIRE(EVP_DigestFinal_ex(digest, sum, NULL) == 1, NTK_ERR_INTERNAL,
              "SHA-256 failed");
  for (int i = 0; i < 32; i++)
    (void)snprintf(hex + (size_t)2 * i, 3, "%02x", sum[i]);
done:
  EVP_MD_CTX_free(digest);
  return status;
}

/* ---- reading --------------------------------------------------------------------------
 */

static ntk_status find_opset(ntk_import *import) {
  const Onnx__ModelProto *proto = import->proto;
  for (size_t i = 0; i < proto->n_opset_import; i++) {
    const char *domain = proto->opset_import[i]->domain;
    if (!domain || !*domain || strcmp(domain, "ai.onnx") == 0) {
      const int64_t version = proto->opset_import[i]->version;
      import->opset = version< 0 || version > INT_MAX ? INT_MAX : (int)version;
      return NTK_SUCCESS;
    }
  }
  return ntk_fail(NTK_ERR_FORMAT, "%s: not an ONNX model: it names no operator set",
                  import->path);
}

static ntk_status keep_sources(const ntk_import *import, ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, import->candidate_count, sizeof(ntk_source),
                     &model->sources));
  for (int i = 0; i < import->candidate_count; i++) {
    const ntk_candidate *c = &import->candidates[i];
    ntk_source *s = &model->sources[i];
    model->source_count++;
    NTK_TRY(ntk_strdup(c->name, &s->name));
    s->is_parameter = c->is_parameter;
    s->reason = c->reason;
    s->value = -1;
    NTK_TRY(ntk_onnx_shape(c->tensor, &s->shape));
    for (int k = 0; k < model->graph->parameter_count; k++)
      if (strcmp(model->graph->values[model->graph->parameters[k]].name, c->name) == 0)
        s->value = model->graph->parameters[k];
  }
done:
  return status;
}

static ntk_status check_names(const ntk_import *import) {
  const Onnx__GraphProto *g = import->graph;
  for (size_t i = 0; i < g->n_input; i++)
    if (!g->input[i]->name)
      return ntk_fail(NTK_ERR_FORMAT, "%s: an input has no name", import->path);
  for (size_t i = 0; i < g->n_output; i++)
    if (!g->output[i]->name)
      return ntk_fail(NTK_ERR_FORMAT, "%s: an output has no name", import->path);
  if (g->n_output == 0)
    return ntk_fail(NTK_ERR_FORMAT, "%s: the graph has no output", import->path);
  return NTK_SUCCESS;
}

/* All outputs, or the one that --output-name names. */
static ntk_status choose_outputs(ntk_import *import, const char *name) {
  ntk_status status = NTK_SUCCESS;
  const Onnx__GraphProto *g = import->graph;
  ntk_text names = {0};
  import->output_count = g->n_output;
  import->outputs = g->output;
  for (size_t i = 0; *name && i < g->n_output; i++) {
    if (strcmp(g->output[i]->name, name) == 0) {
      import->output_count = 1;
      import->outputs = &g->output[i];
      goto done;
    }
    NTK_TRY(ntk_text_add(&names, "%s%s", i ? ", " : "", g->output[i]->name));
  }
  NTK_REQUIRE(!*name, NTK_ERR_ARGUMENT, "%s: --output-name %s: the outputs are %s",
              import->path, name, names.data);
done:
  ntk_text_clear(&names);
  return status;
}

/* All tensors and what they are. */
static ntk_status import_tensors(ntk_import *import, ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(import->graph, NTK_ERR_FORMAT, "%s: not an ONNX model: no graph in it",
              import->path);
  NTK_TRY(check_names(import));
  NTK_TRY(choose_outputs(import, model->output));
  NTK_TRY(find_opset(import));
  model->opset = import->opset;
  NTK_TRY(ntk_strdup(import->proto->producer_name ? import->proto->producer_name : "",
                     &model->producer));
  NTK_TRY(ntk_graph_find_live(import));
  NTK_TRY(ntk_candidates_find(model->context, import));
done:
  return status;
}

static ntk_status import_graph(ntk_import *import, ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_batch_build(import, &model->graph));
  NTK_TRY(ntk_batch_check(import, model->graph));
  NTK_TRY(keep_sources(import, model));
done:
  return status;
}

/* Names of a file may hold anything; messages are one line. */
static ntk_status fail_in_one_line(ntk_status status) {
  char line[1024];
  (void)snprintf(line, sizeof line, "%s", ntk_fail_message());
  for (char *c = line; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
  return ntk_fail(status, "%s", line);
}

/* For messages. */
static const char *name_of(const ntk_model *model) {
  return *model->path ? model->path : "model";
}

/* From what all ranks have. Local; to be closed. */
static ntk_status open_import(const ntk_text *bytes, const ntk_options *options,
                              ntk_model *model, ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const char *axis = ntk_options_string(options, "batch-axis");
  const char *output = ntk_options_string(options, "output-name");
  *import = (ntk_import){.path = name_of(model),
                         .bytes = bytes->data,
                         .size = bytes->length,
                         .block = model->block,
                         .options = options};
  NTK_TRY(ntk_strdup(axis ? axis : "0", &model->batch_axis));
  NTK_TRY(ntk_strdup(output ? output : "", &model->output));
  import->proto =
      onnx__model_proto__unpack(NULL, (size_t)bytes->length, (const uint8_t *)bytes->data);
  NTK_REQUIRE(import->proto, NTK_ERR_FORMAT, "%s: not an ONNX model: it cannot be unpacked",
              import->path);
  import->graph = import->proto->graph;
  NTK_TRY(import_tensors(import, model));
done:
  return status;
}

static void close_import(ntk_import *import) {
  for (int i = 0; i < import->candidate_count; i++)
    ntk_tensor_destroy(&import->candidates[i].value);
  if (import->proto)
    onnx__model_proto__free_unpacked(import->proto, NULL);
  ntk_free(&import->live);
  ntk_names_clear(&import->wanted);
  ntk_free(&import->initializers);
  ntk_free(&import->candidates);
}

static ntk_status agree_in_one_line(ntk_context *context, ntk_status status) {
  return ntk_agree(context->comm,
                   status != NTK_SUCCESS ? fail_in_one_line(status) : NTK_SUCCESS);
}

/* The graph, from what all ranks have and the file of --parameters. */
static ntk_status unpack(const ntk_text *bytes, const ntk_options *options,
                         ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  const char *parameters = ntk_options_string(options, "parameters");
  ntk_import import = {0};
  NTK_TRY(agree_in_one_line(context, open_import(bytes, options, model, &import)));
  if (parameters)
    NTK_TRY(ntk_replace(model, &import, parameters));
  NTK_TRY(agree_in_one_line(context, import_graph(&import, model)));
  NTK_TRY(ntk_model_settle(model));
  NTK_TRY(ntk_digest_others(&import, model));
done:
  close_import(&import);
  return status;
}

/* Rank 0's bytes, size of the block, and whether weights are made up, for all. */
static ntk_status share_bytes(ntk_context *context, ntk_text *bytes,
                              ntk_elements *elements) {
  ntk_status status = NTK_SUCCESS;
  int64_t sizes[3] = {bytes->length, elements->bytes, elements->lacks_weights};
  NTK_TRY_MPI(MPI_Bcast(sizes, 3, MPI_INT64_T, 0, context->comm));
  if (context->rank != 0)
    status = ntk_malloc(NTK_MEMORY_GENERAL, sizes[0], 1, &bytes->data);
  NTK_TRY(ntk_agree(context->comm, status));
  bytes->length = bytes->capacity = sizes[0];
  elements->bytes = sizes[1];
  elements->lacks_weights = sizes[2] != 0;
  NTK_TRY(ntk_bcast(bytes->data, bytes->length, 0, context->comm));
done:
  return status;
}

/* The elements of large tensors, read by rank 0 into the block of its node, for all nodes;
 * and the digest of all that was read. */
static ntk_status share_elements(FILE *file, const ntk_elements *elements,
                                 ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  NTK_TRY(ntk_shared_create(context, elements->bytes, &model->block));
  if (context->rank == 0)
    status = ntk_elements_read(elements, file, name_of(model), model->block->data);
  if (context->rank == 0 && status == NTK_SUCCESS)
    status = digest_file(file, name_of(model), elements, model->sha256);
  if (status != NTK_SUCCESS)
    status = fail_in_one_line(status);
  NTK_TRY(ntk_shared_spread(model->block, status));
  NTK_TRY_MPI(MPI_Bcast(model->sha256, sizeof model->sha256, MPI_CHAR, 0, context->comm));
done:
  return status;
}

/* Rank 0 reads `file`, open there alone, of which all get what is small; what is large is
 * held once per node. may_be_absent: the files of external data. */
static ntk_status read_model(ntk_model *model, const ntk_options *options, FILE *file,
                             int64_t size, const char *folder, bool may_be_absent) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = model->context;
  ntk_text bytes = {0};
  ntk_elements elements = {.may_be_absent = may_be_absent};
  if (context->rank == 0)
    status = ntk_slim_read(file, size, name_of(model), folder, &bytes, &elements);
  if (status != NTK_SUCCESS)
    status = fail_in_one_line(status);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(share_bytes(context, &bytes, &elements));
  model->lacks_weights = elements.lacks_weights;
  NTK_TRY(share_elements(file, &elements, model));
  NTK_TRY(unpack(&bytes, options, model));
done:
  ntk_text_clear(&bytes);
  ntk_elements_clear(&elements);
  return status;
}

static ntk_status start_model(ntk_context *context, const char *path, const char *options,
                              ntk_model **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *model, &model));
  model->context = context;
  NTK_TRY(ntk_strdup(path, &model->path));
  NTK_TRY(ntk_strdup(options ? options : "", &model->options));
  *out = model;
  model = NULL;
done:
  ntk_model_destroy(&model);
  return status;
}

ntk_status ntk_model_from_memory(ntk_context *context, const void *bytes, size_t size,
                                 const char *options, ntk_model **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_options *parsed = NULL;
  FILE *file = NULL;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("model"), options, &parsed));
  NTK_TRY(start_model(context, "", options, &model));
  if (context->rank == 0 && size > 0) {
    file = fmemopen((void *)(uintptr_t)bytes, size, "rb");
    if (!file)
      status = ntk_fail(NTK_ERR_MEMORY, "out of memory");
  }
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(read_model(model, parsed, file, (int64_t)size, NULL, false));
  *out = model;
  model = NULL;
done:
  if (file)
    (void)fclose(file);
  ntk_options_destroy(&parsed);
  ntk_model_destroy(&model);
  return status;
}

static ntk_status read_file(ntk_context *context, const char *path, const char *options,
                            bool may_be_absent, ntk_model **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_options *parsed = NULL;
  ntk_text folder = {0};
  FILE *file = NULL;
  int64_t size = 0;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("model"), options, &parsed));
  NTK_TRY(start_model(context, path, options, &model));
  const char *slash = strrchr(path, '/');
  NTK_TRY(ntk_text_add(&folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
                       slash ? path : "."));
  if (context->rank == 0)
    status = ntk_file_open(path, &file, &size);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(read_model(model, parsed, file, size, folder.data, may_be_absent));
  *out = model;
  model = NULL;
done:
  if (file)
    (void)fclose(file);
  ntk_text_clear(&folder);
  ntk_options_destroy(&parsed);
  ntk_model_destroy(&model);
  return status;
}

ntk_status ntk_model_read(ntk_context *context, const char *path, const char *options,
                          ntk_model **out) {
  return read_file(context, path, options, false, out);
}

ntk_status ntk_model_read_shapes(ntk_context *context, const char *path,
                                 const char *options, ntk_model **out) {
  return read_file(context, path, options, true, out);
}

ntk_status ntk_model_check_weights(const ntk_model *model) {
  if (!model->lacks_weights)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_FILE, "%s: its weights are not there; only a plan can be made",
                  model->path);
}

/* Says of the first tensors why they are none. */
ntk_status ntk_model_check_parameters(const ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  ntk_text list = {0};
  const int count = model->source_count < 4 ? model->source_count : 4;
  if (model->graph->parameter_count > 0)
    return NTK_SUCCESS;
  for (int i = 0; i < count; i++)
    NTK_TRY(ntk_text_add(&list, "%s%.100s: %s", i ? "; " : " (", model->sources[i].name,
                         model->sources[i].reason));
  NTK_TRY(ntk_text_add(&list, "%s",
                       count < model->source_count ? "; ...)"
                       : count                     ? ")"
                                                   : ""));
  status = fail_in_one_line(
      ntk_fail(NTK_ERR_NO_PARAMETERS,
               "%s: no tensor is a parameter%s; see --param, --only, --freeze and "
               "--parameters-from-constants",
               name_of(model), list.data));
done:
  ntk_text_clear(&list);
  return status;
}

void ntk_model_destroy(ntk_model **handle) {
  ntk_model *model = *handle;
  if (!model)
    return;
  for (int i = 0; i < model->source_count; i++)
    ntk_free(&model->sources[i].name);
  ntk_free(&model->sources);
  ntk_free(&model->path);
  ntk_free(&model->parameters_path);
  ntk_free(&model->producer);
  ntk_free(&model->options);
  ntk_free(&model->batch_axis);
  ntk_free(&model->output);
  ntk_graph_destroy(&model->graph);
  for (int i = model->given_count; i-- > 0;)
    ntk_shared_destroy(&model->given[i]);
  ntk_free(&model->given);
  ntk_shared_destroy(&model->replaced);
  ntk_shared_destroy(&model->block);
  ntk_free(handle);
}

ntk_model_info ntk_model_get_info(const ntk_model *model) {
  return (ntk_model_info){.parameter_tensors = model->graph->parameter_count,
                          .parameters = ntk_graph_parameters(model->graph),
                          .outputs = ntk_graph_outputs(model->graph)};
}
