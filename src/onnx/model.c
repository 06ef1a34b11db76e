/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/model.h"
#include "base/memory.h"
#include "onnx/import.h"
#include "onnx/raw.h"
#include "onnx/tensors.h"
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* ---- digests --------------------------------------------------------------------------
 */

static ntk_status add_file(EVP_MD_CTX *digest, const char *path) {
  ntk_status status = NTK_SUCCESS;
  char *bytes = NULL;
  int64_t size;
  NTK_TRY(ntk_file_read(path, &bytes, &size));
  NTK_REQUIRE(EVP_DigestUpdate(digest, bytes, (size_t)size) == 1, NTK_ERR_INTERNAL,
              "SHA-256 failed");
done:
  ntk_free(&bytes);
  return status;
}

/* The file, then its external files in order of first use. */
static ntk_status digest_file(const ntk_import *import, const void *bytes, int64_t size,
                              char hex[65]) {
  ntk_status status = NTK_SUCCESS;
  unsigned char sum[32];
  char *last = NULL, *path = NULL;
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  NTK_REQUIRE(digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                  EVP_DigestUpdate(digest, bytes, (size_t)size) == 1,
              NTK_ERR_INTERNAL, "SHA-256 failed");
  for (size_t i = 0; i < import->graph->n_initializer; i++) {
    const Onnx__TensorProto *tensor = import->graph->initializer[i];
    if (!tensor->has_data_location || tensor->data_location != 1)
      continue;
    NTK_TRY(ntk_onnx_external_path(tensor, import->folder, &path));
    if (!last || strcmp(last, path) != 0)
      NTK_TRY(add_file(digest, path));
    ntk_free(&last);
    last = path;
    path = NULL;
  }
  NTK_REQUIRE(EVP_DigestFinal_ex(digest, sum, NULL) == 1, NTK_ERR_INTERNAL,
              "SHA-256 failed");
  for (int i = 0; i < 32; i++)
    (void)snprintf(hex + (size_t)2 * i, 3, "%02x", sum[i]);
done:
  EVP_MD_CTX_free(digest);
  ntk_free(&last);
  ntk_free(&path);
  return status;
}

static ntk_status digest_parameters(const ntk_graph *graph, char hex[33]) {
  XXH3_state_t *state = XXH3_createState();
  if (!state)
    return ntk_fail(NTK_ERR_MEMORY, "no memory for a digest");
  (void)XXH3_128bits_reset(state);
  for (int i = 0; i < graph->parameter_count; i++) {
    const ntk_value *v = &graph->values[graph->parameters[i]];
    const size_t bytes =
        (size_t)ntk_shape_size(&v->shape) * ntk_dtype_bytes(v->constant->dtype);
    (void)XXH3_128bits_update(state, v->name, strlen(v->name));
    (void)XXH3_128bits_update(state, v->shape.dim,
                              (size_t)v->shape.ndim * sizeof v->shape.dim[0]);
    (void)XXH3_128bits_update(state, v->constant->data, bytes);
  }
  const XXH128_hash_t sum = XXH3_128bits_digest(state);
  (void)XXH3_freeState(state);
  (void)snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)sum.high64,
                 (uint64_t)sum.low64);
  return NTK_SUCCESS;
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

static ntk_status import_model(ntk_import *import, const void *bytes, int64_t size,
                               ntk_model *model) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(import->graph, NTK_ERR_FORMAT, "%s: not an ONNX model: no graph in it",
              import->path);
  NTK_TRY(check_names(import));
  NTK_TRY(find_opset(import));
  model->opset = import->opset;
  NTK_TRY(ntk_strdup(import->proto->producer_name ? import->proto->producer_name : "",
                     &model->producer));
  NTK_TRY(ntk_graph_find_live(import));
  NTK_TRY(ntk_candidates_find(model->context, import));
  NTK_TRY(ntk_batch_build(import, &model->graph));
  NTK_TRY(ntk_batch_check(import, model->graph));
  NTK_TRY(keep_sources(import, model));
  NTK_TRY(digest_file(import, bytes, size, model->sha256));
  NTK_TRY(digest_parameters(model->graph, model->parameter_digest));
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

static ntk_status read_bytes(ntk_model *model, const ntk_options *options,
                             const char *folder, const void *bytes, int64_t size) {
  ntk_status status = NTK_SUCCESS;
  const char *path = *model->path ? model->path : "model";
  ntk_import import = {
      .path = path, .folder = folder, .bytes = bytes, .size = size, .options = options};
  Onnx__ModelProto *proto = NULL;
  const char *axis = ntk_options_string(options, "batch-axis");
  NTK_TRY(ntk_strdup(axis ? axis : "0", &model->batch_axis));
  NTK_TRY(ntk_raw_check(path, bytes, size));
  proto = onnx__model_proto__unpack(NULL, (size_t)size, bytes);
  NTK_REQUIRE(proto, NTK_ERR_FORMAT, "%s: not an ONNX model: it cannot be unpacked", path);
  import.proto = proto;
  import.graph = proto->graph;
  NTK_TRY(import_model(&import, bytes, size, model));
done:
  if (status != NTK_SUCCESS)
    status = fail_in_one_line(status);
  if (proto)
    onnx__model_proto__free_unpacked(proto, NULL);
  ntk_free(&import.live);
  ntk_free(&import.candidates);
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
  NTK_TRY(ntk_options_parse_text(ntk_option_table("model"), options, &parsed));
  NTK_TRY(start_model(context, "", options, &model));
  NTK_TRY(ntk_agree(context->comm, read_bytes(model, parsed, NULL, bytes, (int64_t)size)));
  *out = model;
  model = NULL;
done:
  ntk_options_destroy(&parsed);
  ntk_model_destroy(&model);
  return status;
}

/* Rank 0 reads, all get the bytes, in pieces that MPI can count. */
static ntk_status share_file(ntk_context *context, const char *path, char **bytes,
                             int64_t *size) {
  ntk_status status = NTK_SUCCESS;
  char *data = NULL;
  if (context->rank == 0)
    status = ntk_file_read(path, &data, size);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY_MPI(MPI_Bcast(size, 1, MPI_INT64_T, 0, context->comm));
  if (context->rank != 0)
    status = ntk_malloc(NTK_MEMORY_GENERAL, *size + 1, 1, &data);
  NTK_TRY(ntk_agree(context->comm, status));
  for (int64_t at = 0; at < *size; at += 1 << 30) {
    const int64_t count = *size - at < 1 << 30 ? *size - at : 1 << 30;
    NTK_TRY_MPI(MPI_Bcast(data + at, (int)count, MPI_BYTE, 0, context->comm));
  }
  *bytes = data;
  data = NULL;
done:
  ntk_free(&data);
  return status;
}

ntk_status ntk_model_read(ntk_context *context, const char *path, const char *options,
                          ntk_model **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_options *parsed = NULL;
  ntk_text folder = {0};
  char *bytes = NULL;
  int64_t size = 0;
  NTK_TRY(ntk_options_parse_text(ntk_option_table("model"), options, &parsed));
  NTK_TRY(start_model(context, path, options, &model));
  const char *slash = strrchr(path, '/');
  NTK_TRY(ntk_text_add(&folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
                       slash ? path : "."));
  NTK_TRY(share_file(context, path, &bytes, &size));
  NTK_TRY(ntk_agree(context->comm, read_bytes(model, parsed, folder.data, bytes, size)));
  *out = model;
  model = NULL;
done:
  ntk_free(&bytes);
  ntk_text_clear(&folder);
  ntk_options_destroy(&parsed);
  ntk_model_destroy(&model);
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
  ntk_free(&model->producer);
  ntk_free(&model->options);
  ntk_free(&model->batch_axis);
  ntk_graph_destroy(&model->graph);
  ntk_free(handle);
}

ntk_model_info ntk_model_get_info(const ntk_model *model) {
  return (ntk_model_info){.parameter_tensors = model->graph->parameter_count,
                          .parameters = ntk_graph_parameters(model->graph),
                          .outputs = ntk_graph_outputs(model->graph)};
}
