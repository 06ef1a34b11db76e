/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem */
#include "onnx/import.h"
#include "onnx/tensors.h"
#include <string.h>

/* What PyTorch's exporters do to parameters, and the traces it leaves. The older one folds
 * BatchNorm into convolutions, whose weights then have names of its own (onnx::Conv_33),
 * and stores transposes of weights (onnx::MatMul_44), which unties a head from its table.
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

static ntk_status compare_transposed(const ntk_import *import, const ntk_candidate *a,
                                     const ntk_candidate *b, bool *same) {
  ntk_status status = NTK_SUCCESS;
  ntk_tensor *x = NULL, *y = NULL;
  NTK_TRY(ntk_onnx_tensor(a->tensor, import->block, &x));
  NTK_TRY(ntk_onnx_tensor(b->tensor, import->block, &y));
  const int64_t rows = x->shape.dim[0], columns = x->shape.dim[1];
  *same = true;
  for (int64_t i = 0; i < rows * columns && *same; i++)
    *same = ntk_tensor_real(x, i) == ntk_tensor_real(y, i % columns * rows + i / columns);
done:
  ntk_tensor_destroy(&x);
  ntk_tensor_destroy(&y);
  return status;
}

/* A matrix that the exporter made, and the named one that it is the transpose of. */
static ntk_status refuse_untied(const ntk_import *import) {
  ntk_status status = NTK_SUCCESS;
  const ntk_candidate *list = import->candidates;
  for (int i = 0; i < import->candidate_count; i++)
    for (int k = 0; k < import->candidate_count; k++) {
      const Onnx__TensorProto *made = list[i].tensor, *named = list[k].tensor;
      bool same;
      if (strncmp(list[i].name, "onnx::", 6) != 0 ||
          strncmp(list[k].name, "onnx::", 6) == 0 || list[i].uses == 0 ||
          list[k].uses == 0 || made->n_dims != 2 || named->n_dims != 2 ||
          made->dims[0] != named->dims[1] || made->dims[1] != named->dims[0])
        continue;
      NTK_TRY(compare_transposed(import, &list[i], &list[k], &same));
      NTK_REQUIRE(!same, NTK_ERR_ARGUMENT,
                  "%s: '%s' is the transpose of '%s': the exporter made two of one "
                  "parameter; %s",
                  import->path, list[i].name, list[k].name, advice);
    }
done:
  return status;
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
  NTK_TRY(refuse_untied(import));
  if (find(import->bytes, end, "pkg.torch.export.") ||
      find(import->bytes, end, "pkg.torch.onnx."))
    NTK_TRY(check_list(import));
done:
  return status;
}
