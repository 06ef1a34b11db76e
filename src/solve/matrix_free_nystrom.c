/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/random.h"
#include "dist/shares.h"
#include "solve/matrix_free_parts.h"
#include "tensor/blas.h"
#include "tensor/cholesky.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns of the kernel ------------------------------------------------------------
 * A tile's owner cuts it by the ranks whose samples its rows are. */

typedef struct packet {
  struct packet *next;
  int to;
  ntk_tile tile; /* its rows are those of the receiver alone */
  double *values;
} packet;

typedef struct columns {
  ntk_plan *kernel; /* of the rows with the landmarks */
  const ntk_context *context;
  int64_t samples; /* of the rows, of all ranks */
  packet *packets;
  const ntk_nystrom *n; /* whose f they become */
  int64_t first;        /* row of this rank */
} columns;

static int64_t tile_row(const ntk_tile *t) { /* elements of a sample of the rows */
  return t->row_outputs * t->column_count * t->column_outputs;
}

static ntk_status add_packet(columns *c, int to, const ntk_tile *tile, int64_t from,
                             int64_t count, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_dtype dtype = c->kernel->numeric.dtype;
  packet *p = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *p, &p));
  p->to = to;
  p->tile = *tile;
  p->tile.row_first = from;
  p->tile.row_count = count;
  p->next = c->packets;
  c->packets = p;
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_TILES, count * tile_row(tile), sizeof *p->values, &p->values));
  ntk_convert(dtype,
              (const char *)values + (from - tile->row_first) * tile_row(tile) *
                                         (int64_t)ntk_dtype_bytes(dtype),
              NTK_F64, p->values, count * tile_row(tile));
done:
  return status;
}

/* A tile of one matrix. */
static ntk_status take_matrix(columns *c, const ntk_tile *tile, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const int64_t end = tile->row_first + tile->row_count;
  for (int r = 0; r < c->context->size; r++) {
    const int64_t first = ntk_share_first(c->samples, r, c->context->size);
    const int64_t stop = ntk_share_first(c->samples, r + 1, c->context->size);
    const int64_t from = first > tile->row_first ? first : tile->row_first;
    const int64_t to = stop < end ? stop : end;
    if (to > from)
      NTK_TRY(add_packet(c, r, tile, from, to - from, values));
  }
done:
  return status;
}

/* Of a diagonal kernel output after output; a trace is one, whatever its outputs. */
static ntk_status take_tile(const ntk_tile *given, const void *values, void *user) {
  ntk_status status = NTK_SUCCESS;
  columns *c = user;
  ntk_tile one = *given;
  if (c->n->per > 1)
    return take_matrix(c, given, values);
  const int64_t bytes = given->row_count * given->column_count *
                        (int64_t)ntk_dtype_bytes(c->kernel->numeric.dtype);
  const int64_t count = c->n->matrices > 1 ? given->row_outputs : 1;
  one.row_outputs = one.column_outputs = 1;
  for (int64_t q = 0; q < count; q++) {
    one.row_output = one.column_output = c->n->matrices > 1 ? given->row_output + q : 0;
    NTK_TRY(take_matrix(c, &one, (const char *)values + q * bytes));
  }
done:
  return status;
}

/* Into the rows of C, of the tile's matrix. */
static void put(const columns *c, const ntk_tile *t, const double *values) {
  const ntk_nystrom *n = c->n;
  const bool apart = n->matrices > 1;
  double *own = n->f + (apart ? t->row_output * n->rows * n->m : 0);
  const int64_t row_output = apart ? 0 : t->row_output;
  const int64_t column_output = apart ? 0 : t->column_output;
  for (int64_t i = 0; i < t->row_count; i++)
    for (int64_t q = 0; q < t->row_outputs; q++) {
      double *row = own + ((t->row_first + i - c->first) * n->per + row_output + q) * n->m;
      for (int64_t j = 0; j < t->column_count; j++, values += t->column_outputs)
        memcpy(row + (t->column_first + j) * n->per + column_output, values,
               (size_t)t->column_outputs * sizeof *values);
    }
}

static packet *next_to(packet *p, int rank) {
  while (p && p->to != rank)
    p = p->next;
  return p;
}

static int64_t count_to(packet *p, int rank) {
  int64_t count = 0;
  for (p = next_to(p, rank); p; p = next_to(p->next, rank))
    count++;
  return count;
}

/* All packets for rank `to` against those that rank `from` has for me. room: for the
 * largest of them. */
static ntk_status swap(const columns *c, int to, int from, double *room) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = c->context->comm;
  packet *p = next_to(c->packets, to);
  int64_t out = count_to(c->packets, to), in = 0;
  NTK_TRY(ntk_exchange(comm, &out, sizeof out, to, &in, sizeof in, from));
  for (int64_t k = 0; k < out || k < in; k++) {
    ntk_tile tile = {0};
    const int64_t heading = sizeof tile;
    NTK_TRY(ntk_exchange(comm, p ? &p->tile : NULL, p ? heading : 0, to, &tile,
                         k < in ? heading : 0, from));
    NTK_TRY(ntk_exchange(comm, p ? p->values : NULL,
                         p ? p->tile.row_count * tile_row(&p->tile) * 8 : 0, to, room,
                         tile.row_count * tile_row(&tile) * 8, from));
    if (k < in)
      put(c, &tile, room);
    p = p ? next_to(p->next, to) : NULL;
  }
done:
  return status;
}

static ntk_status exchange(columns *c) {
  ntk_status status = NTK_SUCCESS;
  const int rank = c->context->rank, size = c->context->size;
  int64_t most = 0;
  double *room = NULL;
  for (packet *p = c->packets; p; p = p->next) {
    const int64_t elements = p->tile.row_count * tile_row(&p->tile);
    most = elements > most ? elements : most;
  }
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, c->context->comm));
  NTK_TRY(
      ntk_agree(c->context->comm, ntk_malloc(NTK_MEMORY_TILES, most, sizeof *room, &room)));
  for (packet *p = next_to(c->packets, rank); p; p = next_to(p->next, rank))
    put(c, &p->tile, p->values);
  for (int k = 1; k < size; k++)
    NTK_TRY(swap(c, (rank + k) % size, (rank - k + size) % size, room));
done:
  ntk_free(&room);
  return status;
}

static void drop_packets(columns *c) {
  while (c->packets) {
    packet *p = c->packets;
    c->packets = p->next;
    ntk_free(&p->values);
    ntk_free(&p);
  }
}

/* C: the kernel of plan->rows with the picked samples, this rank's rows, into n->f. */
static ntk_status find_columns(const ntk_plan *plan, const char *options, ntk_data *picked,
                               ntk_nystrom *n) {
  ntk_status status = NTK_SUCCESS;
  columns c = {.context = plan->context, .samples = ntk_data_samples(plan->rows), .n = n};
  c.first = ntk_share_first(c.samples, c.context->rank, c.context->size);
  NTK_TRY(ntk_plan_create(plan->model, plan->rows, picked, options, &c.kernel));
  NTK_TRY(ntk_plan_to_tiles(c.kernel, take_tile, &c));
  NTK_TRY(exchange(&c));
done:
  drop_packets(&c);
  ntk_plan_destroy(&c.kernel);
  return status;
}

/* ---- landmarks ------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* `count` different numbers below n, in order (Floyd's sample). */
static void draw(int64_t n, int64_t count, int64_t seed, int64_t *index) {
  int64_t have = 0;
  for (int64_t j = n - count; j < n; j++) {
    int64_t pick =
        (int64_t)(ntk_random_uniform((uint64_t)seed, 0, (uint64_t)j) * (double)(j + 1));
    pick = pick > j ? j : pick;
    for (int64_t k = 0; k < have; k++)
      if (index[k] == pick) {
        pick = j;
        break;
      }
    index[have++] = pick;
  }
  qsort(index, (size_t)count, sizeof *index, compare);
}

/* W: the landmarks' rows of C of a matrix, [m, m] on all ranks. */
static ntk_status gather_own(const ntk_nystrom *n, const ntk_plan *plan, int64_t landmarks,
                             const int64_t *index, const double *c, double *w) {
  const ntk_context *context = plan->context;
  const int64_t Q = n->per, N = ntk_data_samples(plan->rows);
  const int64_t first = ntk_share_first(N, context->rank, context->size);
  const int64_t count = ntk_share_count(N, context->rank, context->size);
  memset(w, 0, (size_t)(n->m * n->m) * sizeof *w);
  for (int64_t k = 0; k < landmarks; k++)
    if (index[k] >= first && index[k] < first + count)
      memcpy(w + k * Q * n->m, c + (index[k] - first) * Q * n->m,
             (size_t)(Q * n->m) * sizeof *w);
  return ntk_shares_sum_all(context->comm, n->m * n->m, w, n->room);
}

/* W = L L^T, with as little added to its diagonal as rounding asks for. l [m, m]. */
static ntk_status factor_own(const ntk_plan *plan, int64_t m, const double *w, double *l) {
  const int tries = plan->numeric.dtype == NTK_F64 ? 11 : 5;
  double mean = 0, part = plan->numeric.dtype == NTK_F64 ? 1e-12 : 1e-6;
  for (int64_t i = 0; i < m; i++)
    mean += w[i * m + i] / (double)m;
  for (int k = 0; k < tries; k++, part *= 10) {
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < m; j++)
        l[i * m + j] = (w[i * m + j] + w[j * m + i]) / 2 + (i == j ? part * mean : 0);
    if (ntk_cholesky(m, l))
      return NTK_SUCCESS;
  }
  return ntk_fail(NTK_ERR_NUMERICAL,
                  "the kernel of the landmarks is not positive definite; choose others "
                  "(--seed) or --landmarks 0");
}

/* ---- the preconditioner ---------------------------------------------------------------
 */

/* Of one matrix. */
static ntk_status factor_ridges(ntk_nystrom *n, int64_t matrix, double diagonal) {
  ntk_status status = NTK_SUCCESS;
  const int64_t m = n->m;
  const double *f = n->f + matrix * n->rows * m;
  double *gram = n->factors + matrix * m * m;
  if (n->rows > 0)
    ntk_gemm_f64(true, false, m, m, n->rows, 1, f, m, f, m, 0, gram, m);
  else
    memset(gram, 0, (size_t)(m * m) * sizeof *gram);
  NTK_TRY(ntk_shares_sum_all(n->context->comm, m * m, gram, n->room));
  for (int64_t r = n->ridges - 1; r >= 0; r--) { /* the first last: the sum stands there */
    const int64_t k = r * n->matrices + matrix;
    double *own = n->factors + k * m * m;
    if (r > 0)
      memcpy(own, gram, (size_t)(m * m) * sizeof *own);
    n->ridge[k] = fmax(n->ridge[k], 1e-10 * diagonal);
    for (int64_t i = 0; i < m; i++)
      own[i * m + i] += n->ridge[k];
    NTK_REQUIRE(
        ntk_cholesky(m, own), NTK_ERR_NUMERICAL,
        "the preconditioner with ridge %g is not positive definite; choose a larger "
        "ridge or --landmarks 0",
        n->ridge[k]);
  }
done:
  return status;
}

static ntk_status allocate(ntk_nystrom *n, const double *ridge, int64_t systems) {
  ntk_status status = NTK_SUCCESS;
  const int64_t m = n->m, small = systems * m;
  const int64_t most = small > m * m ? small : m * m;
  const int64_t kinds = n->ridges * n->matrices;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, n->matrices * n->rows * m, sizeof(double), &n->f));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, kinds * m * m, sizeof(double), &n->factors));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, kinds, sizeof(double), &n->ridge));
  memcpy(n->ridge, ridge, (size_t)kinds * sizeof *ridge);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, small, sizeof(double), &n->small));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, 2 * ntk_share_count(most, 0, n->context->size),
                     sizeof(double), &n->room));
done:
  return status;
}

static ntk_status fill(ntk_nystrom *n, ntk_plan *plan, const char *options,
                       int64_t landmarks, int64_t seed) {
  ntk_status status = NTK_SUCCESS;
  MPI_Comm comm = plan->context->comm;
  ntk_data *picked = NULL;
  int64_t *index = NULL;
  double *own = NULL, *l = NULL;
  status = ntk_malloc(NTK_MEMORY_GENERAL, landmarks, sizeof *index, &index);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, n->m * n->m, sizeof *own, &own);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, n->m * n->m, sizeof *l, &l);
  NTK_TRY(ntk_agree(comm, status));
  draw(ntk_data_samples(plan->rows), landmarks, seed, index);
  NTK_TRY(ntk_data_pick(plan->rows, landmarks, index, &picked));
  NTK_TRY(find_columns(plan, options, picked, n));
  for (int64_t k = 0; k < n->matrices; k++) {
    double *f = n->f + k * n->rows * n->m;
    NTK_TRY(gather_own(n, plan, landmarks, index, f, own));
    NTK_TRY(ntk_agree(comm, factor_own(plan, n->m, own, l)));
    ntk_cholesky_forward(n->rows, n->m, l, f);
  }
done:
  ntk_data_destroy(&picked);
  ntk_free(&index);
  ntk_free(&own);
  ntk_free(&l);
  return status;
}

ntk_status ntk_nystrom_create(ntk_plan *plan, const char *options, int64_t landmarks,
                              int64_t seed, int64_t ridges, const double *ridge,
                              const double *diagonal, int64_t systems, ntk_nystrom **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *context = plan->context;
  ntk_nystrom *n = NULL;
  status = ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *n, &n);
  if (status == NTK_SUCCESS) {
    const int64_t matrices = ntk_apply_matrices(plan);
    const int64_t per = ntk_apply_width(plan) / matrices;
    *n = (ntk_nystrom){.context = plan->context,
                       .matrices = matrices,
                       .m = landmarks * per,
                       .rows = ntk_share_count(ntk_data_samples(plan->rows), context->rank,
                                               context->size) *
                               per,
                       .per = per,
                       .ridges = ridges};
    status = allocate(n, ridge, systems);
  }
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(fill(n, plan, options, landmarks, seed));
  for (int64_t k = 0; k < n->matrices; k++)
    NTK_TRY(ntk_agree(context->comm, factor_ridges(n, k, diagonal[k])));
  *out = n;
  n = NULL;
done:
  ntk_nystrom_destroy(&n);
  return status;
}

void ntk_nystrom_destroy(ntk_nystrom **handle) {
  ntk_nystrom *n = *handle;
  if (!n)
    return;
  ntk_free(&n->f);
  ntk_free(&n->factors);
  ntk_free(&n->ridge);
  ntk_free(&n->small);
  ntk_free(&n->room);
  ntk_free(handle);
}

/* F of vector k, and how many from there on share it. */
static const double *factor_of(const ntk_nystrom *n, int64_t count, const int64_t *which,
                               int64_t k, int64_t *alike) {
  *alike = n->matrices > 1 ? 1 : count;
  return n->f + which[k] % n->matrices * n->rows * n->m;
}

ntk_status ntk_nystrom_apply(ntk_nystrom *n, int64_t count, const int64_t *which,
                             const double *in, double *out) {
  ntk_status status = NTK_SUCCESS;
  const int64_t m = n->m, rows = n->rows;
  int64_t alike;
  memset(n->small, 0, (size_t)(count * m) * sizeof *n->small);
  for (int64_t k = 0; k < count && rows > 0; k += alike) {
    const double *f = factor_of(n, count, which, k, &alike);
    ntk_gemm_f64(false, false, alike, m, rows, 1, in + k * rows, rows, f, m, 0,
                 n->small + k * m, m);
  }
  NTK_TRY(ntk_shares_sum_all(n->context->comm, count * m, n->small, n->room));
  for (int64_t k = 0; k < count; k++) {
    const double *l = n->factors + which[k] * m * m;
    ntk_cholesky_forward(1, m, l, n->small + k * m);
    ntk_cholesky_backward(1, m, l, n->small + k * m);
  }
  if (rows == 0)
    goto done;
  memcpy(out, in, (size_t)(count * rows) * sizeof *out);
  for (int64_t k = 0; k < count; k += alike) {
    const double *f = factor_of(n, count, which, k, &alike);
    ntk_gemm_f64(false, true, alike, rows, m, -1, n->small + k * m, m, f, m, 1,
                 out + k * rows, rows);
  }
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < rows; i++)
      out[k * rows + i] /= n->ridge[which[k]];
done:
  return status;
}
