/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/options.h"
#include "io/data.h"
#include "io/results.h"
#include "io/store.h"
#include "onnx/model.h"
#include <string.h>

/* Opening models and data is collective; the words are rank 0's. */
static ntk_status describe(ntk_context *context, const char *path, bool json,
                           const char *model_options, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  int kind = ntk_store_is(path) ? 0 : ntk_results_are(path) ? 3 : ntk_data_is(path) ? 1 : 2;
  NTK_TRY_MPI(MPI_Bcast(&kind, 1, MPI_INT, 0, context->comm));
  NTK_REQUIRE(kind == 2 || !*model_options, NTK_ERR_ARGUMENT,
              "%s is no model: %s does not apply", path, model_options);
  if (kind == 1)
    NTK_TRY(ntk_data_read(context, path, NULL, &data));
  else if (kind == 2)
    NTK_TRY(ntk_model_read(context, path, model_options, &model));
  if (context->rank == 0)
    status = kind == 0   ? ntk_store_describe(path, json, text)
             : kind == 1 ? ntk_data_describe(data, json, text)
             : kind == 2 ? ntk_model_describe(model, json, text)
                         : ntk_results_describe(path, json, text);
  NTK_TRY(ntk_agree(context->comm, status));
done:
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  return status;
}

ntk_status ntk_describe(ntk_context *context, const char *path, const char *options,
                        char **text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const model = ntk_option_table("model");
  const ntk_option *const tables[] = {ntk_option_table("describe"), model, NULL};
  ntk_options *parsed = NULL;
  const char *model_options;
  ntk_text words = {0};
  char *copy = NULL;
  int64_t length;
  NTK_TRY(ntk_options_parse_texts(tables, options, &parsed));
  model_options = ntk_options_text(parsed, model);
  NTK_REQUIRE(model_options, NTK_ERR_MEMORY, "no memory for options");
  NTK_TRY(describe(context, path, ntk_options_flag(parsed, "json"), model_options, &words));
  length = words.length + 1;
  NTK_TRY_MPI(MPI_Bcast(&length, 1, MPI_INT64_T, 0, context->comm));
  NTK_TRY(ntk_agree(context->comm, ntk_malloc(NTK_MEMORY_GENERAL, length, 1, &copy)));
  if (context->rank == 0)
    memcpy(copy, words.data, (size_t)length);
  NTK_TRY_MPI(MPI_Bcast(copy, (int)length, MPI_CHAR, 0, context->comm));
  *text = copy;
  copy = NULL;
done:
  ntk_free(&copy);
  ntk_text_clear(&words);
  ntk_options_destroy(&parsed);
  return status;
}

void ntk_text_free(char **text) { ntk_free(text); }
