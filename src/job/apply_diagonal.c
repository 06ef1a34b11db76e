/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "dist/shares.h"
#include "job/apply.h"
#include "job/plan_parts.h"
#include "tensor/blas.h"
#include <string.h>

/* Samples that are contracted with one another. */
enum { TOGETHER = 8 };

/* An engine of its own: whatever the grid is, a rank has whole factors here. */
typedef struct diagonal {
  ntk_engine_spec spec;
  ntk_engine *engine;
  void *block, *packed;
  double *acc; /* [colours][n, o, n, o] */
  int64_t colours;
} diagonal;

static ntk_status make(const ntk_plan *plan, diagonal *d) {
  ntk_status status = NTK_SUCCESS;
  ntk_engine_spec *s = &d->spec;
  *s = plan->spec;
  s->split = NULL;
  s->depth = 0;
  s->outputs = NULL;
  s->block = s->block < TOGETHER ? s->block : TOGETHER;
  s->sweep_samples = s->sweep_samples < s->block ? s->sweep_samples : s->block;
  const int64_t n = s->block, o = s->outputs_block;
  s->colour_stride = n * o * n * o;
  d->colours = ntk_job_colours(&plan->shape);
  NTK_TRY(ntk_engine_create(s, &d->engine));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, ntk_block_bytes(s, n, o), 1, &d->block));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, ntk_packed_bytes(s, 0, n, o), 1, &d->packed));
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_TILES, d->colours * s->colour_stride, sizeof *d->acc, &d->acc));
done:
  return status;
}

static void release(diagonal *d) {
  ntk_engine_destroy(&d->engine);
  ntk_free(&d->block);
  ntk_free(&d->packed);
  ntk_free(&d->acc);
}

/* Matrices of a tile, and their rows: a trace and a diagonal have one for each sample. */
static int64_t matrices(const diagonal *d, int64_t o) {
  return d->spec.form == NTK_FORM_DIAGONAL ? o : 1;
}
static int64_t rows_of(const diagonal *d, int64_t n, int64_t o) {
  return d->spec.form == NTK_FORM_FULL ? n * o : n;
}

/* The diagonals of n samples' tile with itself, o outputs from `output` on, to the sums of
 * their matrices. */
static ntk_status add_block(diagonal *d, int64_t first, int64_t n, int64_t output,
                            int64_t o, double *sums) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = rows_of(d, n, o), count = matrices(d, o);
  double *own = sums + (d->spec.form == NTK_FORM_DIAGONAL ? output : 0);
  const ntk_tile tile = {first, n, output, o, first, n, output, o};
  NTK_TRY(ntk_engine_sweep(d->engine, 0, first, n, output, o, &d->block));
  ntk_engine_pack(d->engine, n, o, d->block, d->packed);
  memset(d->acc, 0, (size_t)(d->colours * d->spec.colour_stride) * sizeof *d->acc);
  NTK_TRY(ntk_engine_contract(d->engine, &tile, d->block, d->packed, true, d->acc,
                              (ntk_meanwhile){NULL, NULL}));
  for (int64_t c = 0; c < d->colours; c++)
    for (int64_t k = 0; k < count * size; k++)
      own[k / size] += d->acc[c * d->spec.colour_stride + k * size + k % size];
done:
  return status;
}

/* Of this rank's share of the rows. */
static ntk_status add_rows(ntk_plan *plan, double *sums) {
  ntk_status status = NTK_SUCCESS;
  diagonal d = {.engine = NULL};
  ntk_shares s;
  ntk_plan_get_shares(plan, &s);
  NTK_TRY(make(plan, &d));
  for (int64_t i = 0; i < s.rows; i += d.spec.block) {
    const int64_t n = s.rows - i < d.spec.block ? s.rows - i : d.spec.block;
    for (int64_t q = 0; q < plan->network.outputs; q += d.spec.outputs_block) {
      const int64_t rest = plan->network.outputs - q, most = d.spec.outputs_block;
      NTK_TRY(add_block(&d, s.row_first + i, n, q, rest < most ? rest : most, sums));
    }
  }
done:
  release(&d);
  return status;
}

ntk_status ntk_plan_mean_diagonals(ntk_plan *plan, double *means) {
  ntk_status status = NTK_SUCCESS;
  const int threads = ntk_blas_set_threads(1);
  const int64_t count = ntk_apply_matrices(plan);
  const int64_t rows = ntk_data_samples(plan->rows) * ntk_apply_width(plan) / count;
  MPI_Comm comm = plan->context->comm;
  double *room = NULL;
  NTK_TRY(ntk_agree(comm, ntk_apply_check(plan)));
  NTK_TRY(ntk_plan_refresh(plan));
  NTK_TRY(ntk_agree(comm, ntk_malloc(NTK_MEMORY_GENERAL, 2 * count, sizeof *room, &room)));
  memset(means, 0, (size_t)count * sizeof *means);
  NTK_TRY(ntk_agree(comm, add_rows(plan, means)));
  NTK_TRY(ntk_shares_sum_all(comm, count, means, room));
  for (int64_t k = 0; k < count; k++)
    means[k] /= (double)rows;
done:
  ntk_free(&room);
  (void)ntk_blas_set_threads(threads);
  return status;
}

ntk_status ntk_plan_mean_diagonal(ntk_plan *plan, double *mean) {
  ntk_status status = NTK_SUCCESS;
  const int64_t count = ntk_apply_matrices(plan);
  double *means = NULL, sum = 0;
  NTK_TRY(ntk_agree(plan->context->comm,
                    ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *means, &means)));
  NTK_TRY(ntk_plan_mean_diagonals(plan, means));
  for (int64_t k = 0; k < count; k++)
    sum += means[k];
  *mean = sum / (double)count;
done:
  ntk_free(&means);
  return status;
}
