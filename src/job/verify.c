/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/options.h"
#include "dist/grid.h"
#include "io/kernel_check.h"
#include "job/recompute.h"
#include <inttypes.h>
#include <scantk/kernel.h>
#include <string.h>

typedef struct verifier {
  ntk_context *context;
  ntk_kernel_file *file; /* the one at hand */
  const ntk_kernel_facts *facts;
  const char *group; /* NULL: the whole */
  const char *only;  /* the group that is asked for, NULL: all kernels */
  bool json;
  ntk_text words;
  ntk_text fault;  /* the first */
  int64_t missing; /* tiles */
} verifier;

/* ---- words ----------------------------------------------------------------------------
 */

/* The first fault becomes the message. */
static ntk_status note_fault(verifier *v, int64_t tile, const char *what, int64_t wrong) {
  ntk_status status = NTK_SUCCESS;
  char place[NTK_KERNEL_PLACE];
  if (v->fault.length > 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_text_add(&v->fault, "%s%s%s: tile %s: %s", v->facts->path,
                       v->group ? ", group " : "", v->group ? v->group : "",
                       ntk_kernel_place(v->file, tile, place), what));
  if (wrong > 1)
    NTK_TRY(ntk_text_add(&v->fault, " (and %" PRId64 " more tiles)", wrong - 1));
done:
  return status;
}

static const char *fault_of(ntk_check check) {
  static const char *const texts[NTK_CHECKS] = {
      "not what its checksum says", "NaN or infinity", "not symmetric",
      "a negative entry on the diagonal",
      "an entry larger than its diagonal entries allow, |K_ij| > sqrt(K_ii K_jj)"};
  return texts[check];
}

static ntk_status tell_check(verifier *v, const ntk_kernel_checks *found, ntk_check check) {
  ntk_status status = NTK_SUCCESS;
  char place[NTK_KERNEL_PLACE];
  const int64_t wrong = found->wrong[check];
  if (!found->is_applied[check])
    return NTK_SUCCESS;
  if (wrong > 0)
    NTK_TRY(note_fault(v, found->first[check], fault_of(check), wrong));
  if (v->json) {
    NTK_TRY(ntk_text_add(&v->words, ", \"%s\": {\"wrong\": %" PRId64, ntk_check_name(check),
                         wrong));
    if (wrong > 0)
      NTK_TRY(ntk_text_add(&v->words, ", \"first\": \"%s\"",
                           ntk_kernel_place(v->file, found->first[check], place)));
    NTK_TRY(ntk_text_add(&v->words, "}"));
  } else if (wrong > 0) {
    NTK_TRY(ntk_text_add(&v->words, "%-11s WRONG: %" PRId64 " tiles, the first is %s\n",
                         ntk_check_name(check), wrong,
                         ntk_kernel_place(v->file, found->first[check], place)));
  } else {
    NTK_TRY(ntk_text_add(&v->words, "%-11s right\n", ntk_check_name(check)));
  }
done:
  return status;
}

/* v'Kv may be below zero by rounding alone. */
static ntk_status tell_forms(verifier *v, const ntk_kernel_checks *found) {
  ntk_status status = NTK_SUCCESS;
  const bool good = found->least_form >= -ntk_kernel_rounding(v->facts);
  if (found->forms == 0)
    return NTK_SUCCESS;
  if (v->json)
    NTK_TRY(ntk_text_add(&v->words,
                         ", \"forms\": %d, \"least_form\": %.9g, \"least_diagonal\": %.9g",
                         found->forms, found->least_form, found->least_diagonal));
  else
    NTK_TRY(ntk_text_add(
        &v->words, "definite    %s: least v'Kv / trace of %d random vectors is %.3g\n",
        good ? "right" : "WRONG", found->forms, found->least_form));
  if (!good && v->fault.length == 0)
    NTK_TRY(ntk_text_add(&v->fault,
                         "%s%s%s: not positive semidefinite: v'Kv = %.3g times the trace",
                         v->facts->path, v->group ? ", group " : "",
                         v->group ? v->group : "", found->least_form));
done:
  return status;
}

static ntk_status open_words(verifier *v) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = v->facts;
  if (!v->json) {
    NTK_TRY(ntk_text_add(
        &v->words, "kernel      %s%s%s\ntiles       %" PRId64 " of %" PRId64 " done\n",
        k->path, v->group ? ", group " : "", v->group ? v->group : "", k->done, k->tiles));
    goto done;
  }
  NTK_TRY(ntk_text_add(&v->words, "%s{\"group\": ", v->group && !v->only ? ", " : ""));
  if (v->group)
    NTK_TRY(ntk_text_add_json(&v->words, v->group));
  else
    NTK_TRY(ntk_text_add(&v->words, "null"));
  NTK_TRY(ntk_text_add(&v->words, ", \"tiles\": %" PRId64 ", \"done\": %" PRId64, k->tiles,
                       k->done));
done:
  return status;
}

static ntk_status tell_kernel(verifier *v, const ntk_kernel_checks *found) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_words(v));
  for (int k = 0; k < NTK_CHECKS; k++)
    NTK_TRY(tell_check(v, found, (ntk_check)k));
  NTK_TRY(tell_forms(v, found));
  if (v->json)
    NTK_TRY(ntk_text_add(&v->words, "}"));
done:
  return status;
}

static ntk_status tell_entries(verifier *v, const ntk_recomputed *r) {
  ntk_status status = NTK_SUCCESS;
  const double allowed = ntk_kernel_rounding(v->facts);
  const double relative = r->difference > 0 ? r->difference / r->largest : 0;
  const char *group = r->group ? r->group : "";
  v->group = r->group;
  if (v->json)
    NTK_TRY(ntk_text_add(&v->words,
                         ", \"entries%s%s\": {\"algorithm\": \"%s\", \"compared\": %" PRId64
                         ", \"samples\": [%" PRId64 ", %" PRId64
                         "], \"difference\": %.9g, \"allowed\": %g}",
                         *group ? " of " : "", group, r->algorithm, r->entries, r->rows,
                         r->columns, relative, allowed));
  else
    NTK_TRY(ntk_text_add(&v->words,
                         "entries     %s%s%s%s: %" PRId64 " of %" PRId64 " x %" PRId64
                         " samples, by %s in f64: largest difference %.3g of the largest\n",
                         *group ? "group " : "", group, *group ? ", " : "",
                         relative <= allowed ? "right" : "WRONG", r->entries, r->rows,
                         r->columns, r->algorithm, relative));
  if (!(relative <= allowed))
    NTK_TRY(note_fault(v, r->tile, "entries are not those of the model", 1));
done:
  v->group = NULL;
  return status;
}

/* ---- kernels --------------------------------------------------------------------------
 */

static ntk_status check_kernel(verifier *v, const char *path, uint64_t seed) {
  ntk_status status = NTK_SUCCESS;
  ntk_kernel_checks found;
  ntk_kernel_close(&v->file);
  NTK_TRY(ntk_agree(v->context->comm, ntk_kernel_open(path, v->group, &v->file)));
  v->facts = ntk_kernel_get_facts(v->file);
  NTK_TRY(ntk_kernel_check(v->context, v->file, seed, &found));
  NTK_TRY(ntk_agree(v->context->comm, tell_kernel(v, &found)));
  v->missing += v->facts->tiles - v->facts->done;
done:
  return status;
}

/* Afterwards the whole one is open. */
static ntk_status check_kernels(verifier *v, const char *path, uint64_t seed) {
  ntk_status status = NTK_SUCCESS;
  char *name = NULL;
  v->group = v->only;
  NTK_TRY(check_kernel(v, path, seed));
  for (int i = 0; !v->only && (i == 0 || name); i++) {
    ntk_free(&name);
    NTK_TRY(ntk_agree(v->context->comm, ntk_kernel_group(v->file, i, &name)));
    v->group = name;
    if (name)
      NTK_TRY(check_kernel(v, path, seed));
  }
  ntk_kernel_close(&v->file);
  NTK_TRY(ntk_agree(v->context->comm, ntk_kernel_open(path, NULL, &v->file)));
  v->facts = ntk_kernel_get_facts(v->file);
done:
  v->group = NULL;
  ntk_free(&name);
  return status;
}

static ntk_status check_entries(verifier *v, ntk_model *model, ntk_data *rows,
                                ntk_data *columns, const ntk_options *options) {
  ntk_status status = NTK_SUCCESS;
  ntk_recomputed *found = NULL;
  int count = 0;
  if (!model || v->missing > 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_kernel_recompute(v->context, v->file, model, rows, columns, options, &found,
                               &count));
  for (int k = 0; k < count; k++)
    if (!v->only || (found[k].group && strcmp(found[k].group, v->only) == 0))
      NTK_TRY(ntk_agree(v->context->comm, tell_entries(v, &found[k])));
done:
  ntk_recomputed_free(&found, count);
  return status;
}

static ntk_status open_report(verifier *v, const char *path) {
  ntk_status status = NTK_SUCCESS;
  if (!v->json)
    return NTK_SUCCESS;
  NTK_TRY(ntk_text_add(&v->words, "{\"path\": "));
  NTK_TRY(ntk_text_add_json(&v->words, path));
  NTK_TRY(ntk_text_add(&v->words, ", \"kernels\": ["));
done:
  return status;
}

static ntk_status verify(verifier *v, const char *path, ntk_model *model, ntk_data *rows,
                         ntk_data *columns, const ntk_options *options) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_report(v, path));
  NTK_TRY(check_kernels(v, path, (uint64_t)ntk_options_int(options, "seed")));
  if (v->json)
    NTK_TRY(ntk_text_add(&v->words, "]"));
  NTK_TRY(check_entries(v, model, rows, columns, options));
  if (v->json)
    NTK_TRY(ntk_text_add(&v->words, ", \"good\": %s}\n",
                         v->fault.length == 0 && v->missing == 0 ? "true" : "false"));
done:
  return status;
}

ntk_status ntk_kernel_verify(ntk_context *context, const char *path, ntk_model *model,
                             ntk_data *rows, ntk_data *columns, const char *options,
                             char **text) {
  ntk_status status = NTK_SUCCESS;
  const ntk_option *const tables[] = {ntk_option_table("verify"), ntk_option_table("group"),
                                      ntk_option_table("describe"), NULL};
  ntk_options *parsed = NULL;
  verifier v = {.context = context};
  NTK_TRY(ntk_options_parse_texts(tables, options, &parsed));
  v.json = ntk_options_flag(parsed, "json");
  v.only = ntk_options_string(parsed, "group");
  NTK_TRY(verify(&v, path, model, rows, columns, parsed));
  NTK_TRY(ntk_bcast_text(v.words.data, context->comm, text));
  NTK_REQUIRE(v.fault.length == 0, NTK_ERR_FORMAT, "%s", v.fault.data);
  NTK_TRY(ntk_kernel_require_complete(v.file));
done:
  ntk_kernel_close(&v.file);
  ntk_text_clear(&v.words);
  ntk_text_clear(&v.fault);
  ntk_options_destroy(&parsed);
  return status;
}
