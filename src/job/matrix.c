/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/cyclic.h"
#include "job/plan_parts.h"
#include "job/tile.h"

/* A kernel on its way into the caller's matrix. */
typedef struct filling {
  ntk_dtype dtype;
  int64_t outputs;         /* O of the matrix: 1 where each sample is one row */
  int64_t *rows, *columns; /* [most of a tile] */
  ntk_cyclic *matrix;
} filling;

/* Rows (columns) of the matrix that samples and outputs of a tile are; how many. */
static int64_t list(const filling *f, int64_t first, int64_t count, int64_t output,
                    int64_t outputs, int64_t *out) {
  int64_t n = 0;
  if (f->outputs == 1) {
    output = 0;
    outputs = 1;
  }
  for (int64_t i = 0; i < count; i++)
    for (int64_t o = 0; o < outputs; o++)
      out[n++] = (first + i) * f->outputs + output + o;
  return n;
}

static ntk_status place_tile(void *self, const ntk_tile *t, const void *values) {
  const filling *f = self;
  const int64_t rows =
      list(f, t->row_first, t->row_count, t->row_output, t->row_outputs, f->rows);
  const int64_t columns = list(f, t->column_first, t->column_count, t->column_output,
                               t->column_outputs, f->columns);
  return ntk_cyclic_put(f->matrix, rows, f->rows, columns, f->columns, f->dtype, values);
}

static ntk_status allocate(filling *f, int64_t most_rows, int64_t most_columns) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most_rows, sizeof *f->rows, &f->rows));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most_columns, sizeof *f->columns, &f->columns));
done:
  return status;
}

static ntk_status fill(filling *f, ntk_plan *plan, const int *desc, ntk_dtype dtype,
                       void *local) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  const ntk_job_shape *s = &plan->shape;
  const ntk_sink sink = {.self = f, .write = place_tile};
  const ntk_tile tile = ntk_tile_of(s, 0, 0, 0, 0);
  const int64_t each = f->outputs == 1 ? 1 : tile.row_outputs;
  const int64_t rows = tile.row_count * each, columns = tile.column_count * each;
  NTK_TRY(ntk_agree(context->comm, allocate(f, rows, columns)));
  NTK_TRY(ntk_cyclic_create(context, desc, ntk_blacs_process(desc[1]), dtype, local,
                            s->rows * f->outputs, s->columns * f->outputs, rows, columns,
                            &f->matrix));
  NTK_TRY(ntk_plan_run(plan, &sink));
done:
  return status;
}

ntk_status ntk_plan_to_matrix(ntk_plan *plan, const int desc[9], ntk_dtype dtype,
                              void *local) {
  ntk_status status = NTK_SUCCESS;
  const ntk_reduction reduction = plan->shape.reduction;
  const bool full = reduction == NTK_REDUCE_NONE;
  filling f = {.dtype = plan->shape.dtype, .outputs = full ? plan->kernel_outputs : 1};
  NTK_REQUIRE(reduction != NTK_REDUCE_DIAGONAL, NTK_ERR_ARGUMENT,
              "a diagonal [O, N1, N2] is no matrix; take its tiles, or another --reduce");
  status = fill(&f, plan, desc, dtype, local);
  const ntk_status closed = ntk_agree(plan->context->comm, ntk_cyclic_close(&f.matrix));
  if (status == NTK_SUCCESS)
    status = closed;
done:
  ntk_free(&f.rows);
  ntk_free(&f.columns);
  return status;
}
