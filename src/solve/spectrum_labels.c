/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "solve/spectrum_parts.h"

typedef struct reader {
  const ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  ntk_shape shape; /* of the labels */
  ntk_dtype dtype;
  double *labels;  /* [N] classes, or [N, targets] */
  int64_t *output; /* [O] numbers of the kernel's outputs */
} reader;

static bool is_pair(const reader *r) {
  return r->facts->reduction == NTK_REDUCE_TRACE ||
         r->facts->reduction == NTK_REDUCE_PSEUDO;
}

static bool are_classes(const reader *r) { return r->dtype != NTK_F64; }

static int64_t targets_of(const reader *r) {
  return ntk_shape_size(&r->shape) / r->shape.dim[0];
}

/* Outputs that the labels are for: of K x I_O those of the network, or as many as there are
 * classes. */
static int64_t count_outputs(const reader *r) {
  int64_t most = 0;
  if (!is_pair(r))
    return r->facts->outputs;
  if (!are_classes(r))
    return targets_of(r);
  for (int64_t i = 0; i < r->facts->rows; i++)
    if ((int64_t)r->labels[i] > most)
      most = (int64_t)r->labels[i];
  return r->facts->network_outputs == 1 || r->facts->network_outputs > most
             ? r->facts->network_outputs
             : most + 1;
}

/* What sample n has for output o of `outputs`. */
static double label_of(const reader *r, int64_t n, int64_t o, int64_t outputs) {
  if (!are_classes(r))
    return r->labels[n * targets_of(r) + o];
  if (outputs == 1)
    return r->labels[n];
  const int64_t number = is_pair(r) ? o : r->output[o];
  return ((int64_t)r->labels[n] == number) - 1 / (double)outputs;
}

static ntk_status read_file(reader *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t rows = r->facts->rows, outputs = r->facts->outputs;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ntk_shape_size(&r->shape), sizeof *r->labels,
                     &r->labels));
  NTK_TRY(ntk_kernel_read_side(r->file, "labels", 0, 0, rows, NTK_F64, r->labels));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, outputs, sizeof *r->output, &r->output));
  NTK_TRY(ntk_kernel_read_side(r->file, "output", 0, 0, outputs, NTK_I64, r->output));
done:
  return status;
}

static ntk_status fill(const reader *r, int64_t plane, ntk_label_vectors *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = r->facts;
  const int64_t outputs = count_outputs(r);
  const bool full = k->reduction == NTK_REDUCE_NONE;
  if (!are_classes(r) && targets_of(r) != outputs)
    return NTK_SUCCESS;
  out->copies = is_pair(r) ? outputs : 1;
  out->count = out->copies;
  out->size = k->rows * k->per_sample;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, out->count * out->size, sizeof *out->values,
                     &out->values));
  for (int64_t c = 0; c < out->count; c++)
    for (int64_t i = 0; i < out->size; i++) {
      const int64_t o = full ? i % outputs : is_pair(r) ? c : plane;
      const double y = label_of(r, full ? i / outputs : i, o, outputs);
      out->values[c * out->size + i] = y;
      out->square += y * y;
    }
done:
  return status;
}

ntk_status ntk_labels_read(const ntk_kernel_file *file, int64_t plane,
                           ntk_label_vectors *out) {
  ntk_status status = NTK_SUCCESS;
  reader r = {.file = file, .facts = ntk_kernel_get_facts(file), .dtype = NTK_F64};
  *out = (ntk_label_vectors){.copies = 1};
  NTK_TRY(ntk_kernel_side_shape(file, "labels", 0, &r.shape));
  NTK_TRY(ntk_kernel_side_dtype(file, "labels", 0, &r.dtype));
  if (r.shape.ndim == 0)
    goto done;
  NTK_TRY(read_file(&r));
  NTK_TRY(fill(&r, plane, out));
done:
  ntk_free(&r.labels);
  ntk_free(&r.output);
  return status;
}

void ntk_labels_clear(ntk_label_vectors *labels) { ntk_free(&labels->values); }
