/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "io/data.h"
#include "solve/classes.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <string.h>

/* What stands where: a side's file and options. */
typedef struct source {
  ntk_context *context;
  const ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  const char *words; /* "training" */
  const char *labels, *labels_option, *center, *center_option;
  bool of_cotangents;
  int64_t N, O;
} source;

static source source_of(const ntk_solve *s, int side) {
  int length;
  const char *cotangents = ntk_solve_identity(s->identity, "cotangents", &length);
  source f = {.context = s->context,
              .file = side ? s->test : s->kernel,
              .words = side ? "test" : "training",
              .labels_option = side ? "test-labels" : "labels",
              .center_option = side ? "test-center" : "center",
              .of_cotangents = cotangents && strncmp(cotangents, "none", 4) != 0,
              .O = s->O};
  f.facts = ntk_kernel_get_facts(f.file);
  f.N = f.facts->rows;
  f.labels = ntk_options_string(s->options, f.labels_option);
  f.center = ntk_options_string(s->options, "center");
  if (side &&
      (strcmp(f.center, "zero") != 0 || ntk_options_given(s->options, "test-center")))
    f.center = ntk_options_string(s->options, "test-center");
  return f;
}

/* ---- outputs at the start -------------------------------------------------------------
 */

/* Of the kernel's file. */
static ntk_status read_own_outputs(const source *f, double *outputs) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(!f->of_cotangents && f->facts->network_outputs == f->O, NTK_ERR_ARGUMENT,
              "%s: a kernel of cotangents, of which the outputs are not in the file: use "
              "--%s zero or FILE",
              f->facts->path, f->center_option);
  NTK_TRY(ntk_kernel_read_side(f->file, "outputs", 0, 0, f->N, NTK_F64, outputs));
  const int64_t bad = ntk_find_nonfinite(NTK_F64, outputs, f->N * f->O);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "%s: output %" PRId64 " of sample %" PRId64 " is not a finite number",
              f->facts->path, bad % f->O, bad / f->O);
done:
  return status;
}

static ntk_status require_rows(const source *f, const char *what, const ntk_data *data) {
  if (data->samples == f->N)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_SHAPE,
                  "%s: %s of %" PRId64 " samples, %s has %" PRId64 " %s samples",
                  data->path, what, data->samples, f->facts->path, f->N, f->words);
}

/* Of a file that `forward` has written. Collective. */
static ntk_status read_given_outputs(const source *f, double *outputs) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *data = NULL;
  NTK_TRY(ntk_data_open(f->context, f->center, "/outputs", &data));
  status = require_rows(f, "outputs", data);
  if (status == NTK_SUCCESS && ntk_shape_size(&data->shape) != f->O)
    status = ntk_fail(NTK_ERR_SHAPE,
                      "%s: %" PRId64 " outputs of a sample, the kernel has %" PRId64,
                      data->path, ntk_shape_size(&data->shape), f->O);
  if (status == NTK_SUCCESS)
    status = ntk_data_slice(data, 0, f->N, NTK_F64, outputs);
  NTK_TRY(ntk_agree(f->context->comm, status));
done:
  ntk_data_destroy(&data);
  return status;
}

static ntk_status read_outputs(const source *f, double *outputs) {
  if (f->center && strcmp(f->center, "zero") == 0)
    return NTK_SUCCESS;
  if (f->center && strcmp(f->center, "auto") != 0)
    return read_given_outputs(f, outputs);
  return ntk_agree(f->context->comm, read_own_outputs(f, outputs));
}

/* ---- labels ---------------------------------------------------------------------------
 */

/* Labels as they stand in a file: class numbers [N], or targets [N, width]. */
typedef struct labels {
  const char *path;
  int64_t *classes; /* NULL: there are targets */
  double *targets;  /* NULL: there are classes, or nothing */
  int64_t width;
} labels;

static ntk_status make_room(const source *f, bool classes, int64_t width, labels *out) {
  out->width = width;
  return classes ? ntk_malloc(NTK_MEMORY_DATA, f->N, sizeof *out->classes, &out->classes)
                 : ntk_malloc(NTK_MEMORY_DATA, f->N * width, sizeof *out->targets,
                              &out->targets);
}

/* Of the kernel's file, where it has such. */
static ntk_status read_own_labels(const source *f, labels *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_shape shape;
  ntk_dtype dtype;
  out->path = f->facts->path;
  NTK_TRY(ntk_kernel_side_shape(f->file, "labels", 0, &shape));
  if (shape.ndim == 0)
    goto done;
  NTK_TRY(ntk_kernel_side_dtype(f->file, "labels", 0, &dtype));
  const bool classes = shape.ndim == 1 && !ntk_dtype_is_real(dtype) && !f->of_cotangents;
  NTK_TRY(make_room(f, classes, ntk_shape_size(&shape) / shape.dim[0], out));
  NTK_TRY(ntk_kernel_read_side(f->file, "labels", 0, 0, f->N, classes ? NTK_I64 : NTK_F64,
                               classes ? (void *)out->classes : out->targets));
done:
  return status;
}

/* A file of labels, or of samples that have labels. */
static ntk_status take_labels(const source *f, ntk_data *data, labels *out) {
  ntk_status status = NTK_SUCCESS;
  const bool beside = data->labels != NTK_LABELS_NONE;
  const bool classes =
      beside ? data->labels == NTK_LABELS_CLASSES
             : ntk_shape_size(&data->shape) == 1 && !ntk_dtype_is_real(data->dtype);
  const ntk_shape *shape = beside ? &data->target_shape : &data->shape;
  out->path = f->labels;
  NTK_TRY(require_rows(f, "labels", data));
  NTK_TRY(make_room(f, classes, beside && classes ? 1 : ntk_shape_size(shape), out));
  if (beside) {
    NTK_TRY(ntk_data_labels(data, 0, f->N, classes ? (void *)out->classes : out->targets));
    goto done;
  }
  NTK_TRY(classes ? ntk_classes_read(data, 0, f->N, out->classes)
                  : ntk_data_slice(data, 0, f->N, NTK_F64, out->targets));
done:
  return status;
}

/* Collective. */
static ntk_status read_given_labels(const source *f, labels *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *data = NULL;
  NTK_TRY(ntk_data_open(f->context, f->labels, "/labels", &data));
  NTK_TRY(ntk_agree(f->context->comm, take_labels(f, data, out)));
done:
  ntk_data_destroy(&data);
  return status;
}

/* Class numbers become the outputs that stand for them. */
static ntk_status make_targets(const source *f, labels *l, ntk_side *side) {
  ntk_status status = NTK_SUCCESS;
  int64_t *output = NULL;
  NTK_REQUIRE(f->O > 1, NTK_ERR_SHAPE,
              "%s: class numbers, but the kernel has one output: give real targets "
              "(--%s FILE, of a floating type)",
              l->path, f->labels_option);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, f->O, sizeof *output, &output));
  NTK_TRY(ntk_kernel_read_side(f->file, "output", 0, 0, f->O, NTK_I64, output));
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, f->N * f->O, sizeof *side->targets, &side->targets));
  NTK_TRY(ntk_classes_encode(l->path, 0, f->N, f->O, output, l->classes, side->targets));
  side->classes = l->classes;
  l->classes = NULL;
done:
  ntk_free(&output);
  return status;
}

static ntk_status take_targets(const source *f, labels *l, ntk_side *side) {
  ntk_status status = NTK_SUCCESS;
  if (l->classes)
    return make_targets(f, l, side);
  if (!l->targets)
    return NTK_SUCCESS;
  NTK_REQUIRE(l->width == f->O, NTK_ERR_SHAPE,
              "%s: targets of %" PRId64 " numbers, the kernel has %" PRId64 " outputs",
              l->path, l->width, f->O);
  const int64_t bad = ntk_find_nonfinite(NTK_F64, l->targets, f->N * f->O);
  NTK_REQUIRE(bad < 0, NTK_ERR_NONFINITE,
              "%s: the target of sample %" PRId64 " is not a finite number", l->path,
              bad / f->O);
  side->targets = l->targets;
  l->targets = NULL;
done:
  return status;
}

ntk_status ntk_side_read(ntk_solve *s, int number) {
  ntk_status status = NTK_SUCCESS;
  const source f = source_of(s, number);
  ntk_side *side = &s->sides[number];
  labels l = {0};
  side->samples = f.N;
  NTK_TRY(ntk_agree(s->context->comm, ntk_calloc(NTK_MEMORY_DATA, f.N * f.O,
                                                 sizeof *side->outputs, &side->outputs)));
  NTK_TRY(read_outputs(&f, side->outputs));
  if (f.labels)
    NTK_TRY(read_given_labels(&f, &l));
  else
    NTK_TRY(ntk_agree(s->context->comm, read_own_labels(&f, &l)));
  NTK_TRY(ntk_agree(s->context->comm, take_targets(&f, &l, side)));
  NTK_REQUIRE(side->targets || number > 0, NTK_ERR_ARGUMENT,
              "%s: there are no labels in the file: --labels FILE", f.facts->path);
done:
  ntk_free(&l.classes);
  ntk_free(&l.targets);
  return status;
}

void ntk_side_clear(ntk_side *side) {
  ntk_free(&side->outputs);
  ntk_free(&side->targets);
  ntk_free(&side->classes);
}
