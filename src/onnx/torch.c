/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem */
#include "onnx/import.h"
#include <string.h>

/* What PyTorch's exporters do to parameters, and the traces it leaves. The older one folds
 * BatchNorm into convolutions, whose weights then have names of its own (onnx::Conv_33).
 * The newer one (torch.export) also merges equal tensors and drops zeros and ones, without
 * an Identity in their place; but it lists the module's parameters in the graph's metadata,
 * one in a line: p_0_weight: PARAMETER target='0.weight'. */

static const char advice[] = "export with scripts/export_torch.py";

static const char *find(const char *from, const char *end, const char *text) {
  return memmem(from, (size_t)(end - from), text, strlen(text));
}

static ntk_status refuse_folded(const ntk_import *import) {
  for (int i = 0; i < import->candidate_count; i++) {
    const ntk_candidate *c = &import->candidates[i];
    if (c->uses > 0 && strncmp(c->name, "onnx::Conv", 10) == 0)
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "%s: '%s' is no parameter of the module: the exporter folded "
                      "BatchNorm into a convolution; %s",
                      import->path, c->name, advice);
  }
  return NTK_SUCCESS;
}

/* Every parameter that the file's own list names must be an initializer. */
static ntk_status check_list(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  static const char line[] = "PARAMETER target='";
  const char *at = import->bytes, *end = at + import->size;
  int64_t listed = 0;
  for (; (at = find(at, end, line)); listed++) {
    at += sizeof line - 1;
    const char *quote = memchr(at, '\'', (size_t)(end - at));
    NTK_REQUIRE(quote && quote - at < 1024, NTK_ERR_FORMAT,
                "%s: the exporter's list of parameters is broken; %s", import->path,
                advice);
    char name[1024];
    memcpy(name, at, (size_t)(quote - at));
    name[quote - at] = '\0';
    NTK_REQUIRE(ntk_candidate_named(import, name), NTK_ERR_ARGUMENT,
                "%s: the exporter merged, folded or dropped the parameter '%s'; %s",
                import->path, name, advice);
  }
  NTK_REQUIRE(listed > 0, NTK_ERR_ARGUMENT,
              "%s: made by torch.export, without a list of its parameters; %s",
              import->path, advice);
done:
  return status;
}

ntk_status ntk_torch_check(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const char *end = import->bytes + import->size;
  NTK_TRY(refuse_folded(import));
  if (find(import->bytes, end, "pkg.torch.export.") ||
      find(import->bytes, end, "pkg.torch.onnx."))
    NTK_TRY(check_list(import));
done:
  return status;
}
