/* SPDX-License-Identifier: Apache-2.0 */
/* From the tiles of a file, row-major, to the blocks of ScaLAPACK, column-major. Who has
 * read what is known to all, so that elements travel without their places. */
#include "base/memory.h"
#include "solve/matrix.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Elements that a rank reads in a round: larger tiles are read in slices of their rows, of
 * smaller ones several. */
enum { SLICE = 1 << 20 };

/* A piece of a tile, and whether its transpose stands for another tile. */
typedef struct piece {
  ntk_tile box;
  bool twice;
} piece;

/* Rows or columns of a box in the matrix. */
typedef struct side {
  int64_t first, samples, output, outputs, per_sample;
} side;

typedef struct reading {
  ntk_context *context;
  const ntk_kernel_file *file;
  const ntk_kernel_facts *facts;
  ntk_matrix *matrix;
  int64_t plane;
  int64_t count, *tiles; /* [count] numbers of those that have something of the plane */
  int64_t slices, step;  /* of a tile, and samples of each */
  int64_t largest;       /* elements of a piece at most */
  int64_t batch;         /* pieces that a rank reads in a round */
  double *values, *send, *receive;
  int *send_counts, *send_starts, *receive_counts, *receive_starts; /* [size] */
  int *rows, *columns, *places[2]; /* [longest side of a box] */
  int64_t held;                    /* elements of `receive` */
} reading;

static bool is_diagonal(const reading *r) {
  return r->facts->reduction == NTK_REDUCE_DIAGONAL;
}

/* ---- pieces ---------------------------------------------------------------------------
 */

/* Slices of a tile, and samples of each; elements of one. Half a kernel's tiles are read
 * whole. */
static int64_t cut(const ntk_kernel_facts *k, int64_t *slices, int64_t *step) {
  const int64_t longest = k->block * k->part;
  *slices = k->half ? 1 : least((longest * longest - 1) / SLICE + 1, k->block);
  *step = (k->block - 1) / *slices + 1;
  return *step * k->part * longest;
}

int64_t ntk_matrix_read_bytes(const ntk_kernel_facts *k, int ranks) {
  int64_t slices, step;
  const int64_t largest = cut(k, &slices, &step);
  const double all =
      (double)(k->rows * k->per_sample) * (double)(k->columns * k->per_sample);
  const double batch = fmin(SLICE, all / ranks);
  return (int64_t)(8 * (3 + 2 * k->symmetric) * fmax((double)largest, batch));
}

static ntk_status list_tiles(reading *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t all = ntk_kernel_boxes(r->file);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, all, sizeof *r->tiles, &r->tiles));
  for (int64_t k = 0; k < all; k++) {
    const ntk_tile t = ntk_kernel_box(r->file, k);
    if (!is_diagonal(r) ||
        (r->plane >= t.row_output && r->plane < t.row_output + t.row_outputs))
      r->tiles[r->count++] = k;
  }
  r->largest = cut(r->facts, &r->slices, &r->step);
  r->batch = r->largest < SLICE ? SLICE / r->largest : 1;
  r->batch = least(r->batch, (r->count * r->slices - 1) / r->context->size + 1);
done:
  return status;
}

/* Number b of a rank's pieces in a round; no rows where there is none. */
static piece piece_at(const reading *r, int64_t round, int rank, int64_t b) {
  const int64_t k = (round * r->batch + b) * r->context->size + rank;
  piece p = {.twice = false};
  if (k >= r->count * r->slices)
    return p;
  p.box = ntk_kernel_box(r->file, r->tiles[k / r->slices]);
  p.twice = r->facts->symmetric && (p.box.row_first != p.box.column_first ||
                                    p.box.row_output != p.box.column_output);
  if (is_diagonal(r)) {
    p.box.row_output = p.box.column_output = r->plane;
    p.box.row_outputs = p.box.column_outputs = 1;
  }
  const int64_t skipped = least(k % r->slices * r->step, p.box.row_count);
  p.box.row_first += skipped;
  p.box.row_count = least(r->step, p.box.row_count - skipped);
  return p;
}

static side side_of(const reading *r, const ntk_tile *t, bool columns) {
  const int64_t per = r->facts->per_sample;
  const bool full = r->facts->reduction == NTK_REDUCE_NONE;
  side s = {t->row_first, t->row_count, 0, 1, per};
  if (columns) {
    s.first = t->column_first;
    s.samples = t->column_count;
  }
  if (full) {
    s.output = columns ? t->column_output : t->row_output;
    s.outputs = columns ? t->column_outputs : t->row_outputs;
  }
  return s;
}

/* ---- who has what ---------------------------------------------------------------------
 */

/* Elements of a side that grid row (column) `mine` of `count` has: their numbers in the
 * side and their local places there; how many. */
static int pick(const side *s, int nb, int mine, int count, int *numbers, int *places) {
  int n = 0;
  for (int64_t i = 0; i < s->samples; i++)
    for (int64_t o = 0; o < s->outputs; o++) {
      const int64_t global = (s->first + i) * s->per_sample + s->output + o;
      if (global / nb % count != mine)
        continue;
      numbers[n] = (int)(i * s->outputs + o);
      places[n++] = (int)(global / nb / count * nb + global % nb);
    }
  return n;
}

/* What rank (row, column) gets of a piece, or of its transpose: numbers of rows and columns
 * of the piece, places of both in its part of the matrix. */
typedef struct share {
  int rows, columns;
} share;
static share share_of(reading *r, const piece *p, bool transposed, int row, int column) {
  const ntk_blacs *g = r->matrix->grid;
  const side rows = side_of(r, &p->box, false), columns = side_of(r, &p->box, true);
  const int nb = r->matrix->nb;
  share s;
  s.rows = pick(&rows, nb, transposed ? column : row, transposed ? g->columns : g->rows,
                r->rows, r->places[0]);
  s.columns = pick(&columns, nb, transposed ? row : column,
                   transposed ? g->rows : g->columns, r->columns, r->places[1]);
  return s;
}

/* ---- one round ------------------------------------------------------------------------
 */

static int64_t width_of(const reading *r, const piece *p) {
  return p->box.column_count *
         (r->facts->reduction == NTK_REDUCE_NONE ? p->box.column_outputs : 1);
}

static ntk_status check_finite(const reading *r, const piece *p, const double *values) {
  const int64_t n = ntk_kernel_box_size(r->facts, &p->box);
  const int64_t bad = ntk_find_nonfinite(NTK_F64, values, n), wide = width_of(r, p);
  if (bad < 0)
    return NTK_SUCCESS;
  const side columns = side_of(r, &p->box, true), rows = side_of(r, &p->box, false);
  return ntk_fail(NTK_ERR_NONFINITE,
                  "%s: the kernel of samples %" PRId64 " and %" PRId64
                  " is not a finite number",
                  r->facts->path, rows.first + bad / wide / rows.outputs,
                  columns.first + bad % wide / columns.outputs);
}

static ntk_status read_pieces(reading *r, int64_t round) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t b = 0; b < r->batch; b++) {
    const piece p = piece_at(r, round, r->context->rank, b);
    double *values = r->values + b * r->largest;
    if (p.box.row_count == 0)
      continue;
    NTK_TRY(ntk_kernel_read(r->file, &p.box, values));
    NTK_TRY(check_finite(r, &p, values));
  }
done:
  return status;
}

/* The part of a piece for rank (row, column), to `to`; behind it. */
static double *pack_piece(reading *r, const piece *p, const double *values, int row,
                          int column, double *to) {
  const int64_t wide = width_of(r, p);
  for (int t = 0; t < 1 + p->twice && p->box.row_count > 0; t++) {
    const share s = share_of(r, p, t, row, column);
    for (int i = 0; i < s.rows; i++)
      for (int j = 0; j < s.columns; j++)
        *to++ = values[r->rows[i] * wide + r->columns[j]];
  }
  return to;
}

/* The parts of each rank, one behind the other. */
static void pack(reading *r, int64_t round) {
  const ntk_blacs *g = r->matrix->grid;
  double *to = r->send;
  for (int k = 0; k < r->context->size; k++) {
    r->send_starts[k] = (int)(to - r->send);
    for (int64_t b = 0; b < r->batch && k < g->rows * g->columns; b++) {
      const piece p = piece_at(r, round, r->context->rank, b);
      to =
          pack_piece(r, &p, r->values + b * r->largest, k / g->columns, k % g->columns, to);
    }
    r->send_counts[k] = (int)(to - r->send) - r->send_starts[k];
  }
}

/* Elements that come from a rank in a round. */
static int64_t expected_from(reading *r, int64_t round, int rank) {
  const ntk_blacs *g = r->matrix->grid;
  int64_t count = 0;
  for (int64_t b = 0; b < r->batch && g->my_row >= 0; b++) {
    const piece p = piece_at(r, round, rank, b);
    for (int t = 0; t < 1 + p.twice && p.box.row_count > 0; t++) {
      const share s = share_of(r, &p, t, g->my_row, g->my_column);
      count += (int64_t)s.rows * s.columns;
    }
  }
  return count;
}

/* How much comes from each rank, and room for it. */
static ntk_status expect(reading *r, int64_t round) {
  ntk_status status = NTK_SUCCESS;
  int64_t total = 0;
  for (int k = 0; k < r->context->size; k++) {
    const int64_t count = expected_from(r, round, k);
    NTK_REQUIRE(total + count < INT_MAX, NTK_ERR_MEMORY,
                "%s: tiles too large for %d ranks at once: use a smaller --nb",
                r->facts->path, r->context->size);
    r->receive_counts[k] = (int)count;
    r->receive_starts[k] = (int)total;
    total += count;
  }
  if (total > r->held) {
    ntk_free(&r->receive);
    r->held = 0;
    NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, total, sizeof *r->receive, &r->receive));
    r->held = total;
  }
done:
  return status;
}

/* Elements of a piece to their places; behind them. */
static const double *unpack_piece(reading *r, const piece *p, const double *from) {
  const ntk_blacs *g = r->matrix->grid;
  const int64_t ld = r->matrix->desc[8];
  for (int t = 0; t < 1 + p->twice && p->box.row_count > 0; t++) {
    const share s = share_of(r, p, t, g->my_row, g->my_column);
    for (int i = 0; i < s.rows; i++) {
      double *to = r->matrix->values + r->places[0][i] * (t ? ld : 1);
      for (int j = 0; j < s.columns; j++)
        to[r->places[1][j] * (t ? 1 : ld)] = *from++;
    }
  }
  return from;
}

static void unpack(reading *r, int64_t round) {
  for (int k = 0; k < r->context->size && r->matrix->grid->my_row >= 0; k++) {
    const double *from = r->receive + r->receive_starts[k];
    for (int64_t b = 0; b < r->batch; b++) {
      const piece p = piece_at(r, round, k, b);
      from = unpack_piece(r, &p, from);
    }
  }
}

static ntk_status run_round(reading *r, int64_t round) {
  ntk_status status = NTK_SUCCESS;
  status = read_pieces(r, round);
  if (status == NTK_SUCCESS)
    status = expect(r, round);
  NTK_TRY(ntk_agree(r->context->comm, status));
  pack(r, round);
  NTK_TRY_MPI(MPI_Alltoallv(r->send, r->send_counts, r->send_starts, MPI_DOUBLE, r->receive,
                            r->receive_counts, r->receive_starts, MPI_DOUBLE,
                            r->context->comm));
  unpack(r, round);
done:
  return status;
}

/* ---- all of them ----------------------------------------------------------------------
 */

static ntk_status allocate(reading *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t longest = r->facts->block * r->facts->part;
  const int64_t size = r->batch * r->largest, ranks = r->context->size;
  NTK_REQUIRE(longest < INT_MAX / 2 && 2 * size < INT_MAX, NTK_ERR_UNSUPPORTED,
              "%s: tiles of %" PRId64 " x %" PRId64 " are too large to be passed on",
              r->facts->path, longest, longest);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, size, sizeof *r->values, &r->values));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, (1 + r->facts->symmetric) * size, sizeof *r->send,
                     &r->send));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 4 * ranks, sizeof(int), &r->send_counts));
  r->send_starts = r->send_counts + ranks;
  r->receive_counts = r->send_starts + ranks;
  r->receive_starts = r->receive_counts + ranks;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, 4 * longest, sizeof(int), &r->rows));
  r->columns = r->rows + longest;
  r->places[0] = r->columns + longest;
  r->places[1] = r->places[0] + longest;
done:
  return status;
}

static ntk_status begin(reading *r) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_facts *k = r->facts;
  NTK_REQUIRE(r->matrix->rows == k->rows * k->per_sample &&
                  r->matrix->columns == k->columns * k->per_sample && r->plane >= 0 &&
                  r->plane < k->matrices,
              NTK_ERR_INTERNAL, "%s: not a matrix of %d x %d", k->path, r->matrix->rows,
              r->matrix->columns);
  NTK_TRY(list_tiles(r));
  NTK_TRY(allocate(r));
done:
  return status;
}

ntk_status ntk_matrix_read(ntk_context *context, const ntk_kernel_file *file, int64_t plane,
                           ntk_matrix *matrix) {
  ntk_status status = NTK_SUCCESS;
  reading r = {.context = context,
               .file = file,
               .facts = ntk_kernel_get_facts(file),
               .matrix = matrix,
               .plane = plane};
  NTK_TRY(ntk_agree(context->comm, begin(&r)));
  for (int64_t round = 0; round * r.batch * context->size < r.count * r.slices; round++)
    NTK_TRY(run_round(&r, round));
done:
  ntk_free(&r.tiles);
  ntk_free(&r.values);
  ntk_free(&r.send);
  ntk_free(&r.receive);
  ntk_free(&r.send_counts);
  ntk_free(&r.rows);
  return status;
}
