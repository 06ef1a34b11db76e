/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/lanczos.h"
#include "base/memory.h"
#include "base/random.h"
#include "dist/grid.h"
#include "solve/lapack.h"
#include "tensor/blas.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double tolerance = 1e-11; /* of the largest eigenvalue */
enum { MOST_RESTARTS = 500 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t ntk_lanczos_block(int64_t count) { return count < 8 ? count : 8; }

/* Vectors stand one behind the other, of each this rank's rows. */
typedef struct basis {
  ntk_tiles *tiles;
  ntk_context *context;
  int64_t size, first, rows, block, wanted;
  int64_t most, count;  /* vectors of the basis; now */
  int64_t fresh;        /* those of them, at the end, that are not yet multiplied */
  double *v, *kv;       /* [most + block, rows] orthonormal; [most, rows] K times them */
  double *h;            /* [most, most] v' K v */
  double *s;            /* [most, most] its eigenvectors in rows, rising */
  double *theta;        /* [most] */
  double *room;         /* [most + block, rows] */
  double *dots;         /* [most + block, block] */
  double *x, *y;        /* [block, size] whole */
  int *counts, *starts; /* [ranks] */
  uint64_t drawn;       /* random vectors so far */
  ntk_lanczos *found;
} basis;

/* ---- small matrices -------------------------------------------------------------------
 */

ntk_status ntk_small_eigen(int64_t n, double *a, double *values) {
  ntk_status status = NTK_SUCCESS;
  const int order = (int)n;
  int lwork = -1, liwork = -1, info = 0, *iwork = NULL;
  double size, *work = NULL;
  int isize;
  dsyevd_("V", "L", &order, a, &order, values, &size, &lwork, &isize, &liwork, &info, 1, 1);
  lwork = (int)size;
  liwork = isize;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, lwork, sizeof *work, &work));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, liwork, sizeof *iwork, &iwork));
  dsyevd_("V", "L", &order, a, &order, values, work, &lwork, iwork, &liwork, &info, 1, 1);
  NTK_REQUIRE(info == 0, NTK_ERR_NUMERICAL, "the eigenvalues of a small matrix: dsyevd %d",
              info);
done:
  ntk_free(&work);
  ntk_free(&iwork);
  return status;
}

/* ---- vectors --------------------------------------------------------------------------
 */

/* dots [n, m] = a [n] . b [m], over all ranks. */
static ntk_status dot(basis *b, int64_t n, const double *a, int64_t m, const double *c,
                      double *dots) {
  ntk_gemm_f64(false, true, n, m, b->rows, 1, a, b->rows, c, b->rows, 0, dots, m);
  return ntk_reduce(dots, n * m, MPI_SUM, b->context->comm);
}

/* A random vector in place of x. */
static void draw(basis *b, double *x) {
  for (int64_t i = 0; i < b->rows; i++)
    x[i] = ntk_random_normal(0, b->drawn, (uint64_t)(b->first + i));
  b->drawn++;
}

/* Takes what x has of the n vectors before it out of it, and gives its length. */
static ntk_status clean(basis *b, int64_t n, double *x, double *length) {
  ntk_status status = NTK_SUCCESS;
  double square;
  for (int pass = 0; pass < 2; pass++) {
    NTK_TRY(dot(b, n, b->v, 1, x, b->dots));
    ntk_gemm_f64(true, false, 1, b->rows, n, -1, b->dots, 1, b->v, b->rows, 1, x, b->rows);
  }
  NTK_TRY(dot(b, 1, x, 1, x, &square));
  *length = sqrt(square);
done:
  return status;
}

/* Makes the vectors first .. first + n orthonormal, and to those before; what had nothing
 * of its own (below `floor`) is replaced by a random one. */
static ntk_status orthonormalize(basis *b, int64_t first, int64_t n, double floor) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t k = first; k < first + n; k++) {
    double *x = b->v + k * b->rows, length, least_length = floor;
    NTK_TRY(clean(b, k, x, &length));
    for (int tries = 0; !(length > least_length) && tries < 8; tries++) {
      draw(b, x);
      NTK_TRY(clean(b, k, x, &length));
      least_length = 1e-8;
    }
    NTK_REQUIRE(length > 0, NTK_ERR_NUMERICAL, "no vector of its own is left");
    for (int64_t i = 0; i < b->rows; i++)
      x[i] /= length;
  }
done:
  return status;
}

/* The fresh vectors, whole on all ranks. */
static ntk_status gather(basis *b, int64_t first) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t c = 0; c < b->fresh; c++)
    NTK_TRY_MPI(MPI_Allgatherv(b->v + (first + c) * b->rows, (int)b->rows, MPI_DOUBLE,
                               b->x + c * b->size, b->counts, b->starts, MPI_DOUBLE,
                               b->context->comm));
done:
  return status;
}

/* ---- steps ----------------------------------------------------------------------------
 */

/* K times the fresh vectors, and what h gains by it. */
static ntk_status multiply(basis *b) {
  ntk_status status = NTK_SUCCESS;
  const int64_t first = b->count - b->fresh;
  NTK_TRY(gather(b, first));
  NTK_TRY(ntk_tiles_multiply(b->tiles, b->fresh, b->x, b->y));
  b->found->products += b->fresh;
  for (int64_t c = 0; c < b->fresh; c++)
    memcpy(b->kv + (first + c) * b->rows, b->y + c * b->size + b->first,
           (size_t)b->rows * sizeof *b->kv);
  NTK_TRY(dot(b, b->count, b->v, b->fresh, b->kv + first * b->rows, b->dots));
  for (int64_t i = 0; i < b->count; i++)
    for (int64_t c = 0; c < b->fresh; c++)
      b->h[i * b->most + first + c] = b->h[(first + c) * b->most + i] =
          b->dots[i * b->fresh + c];
done:
  return status;
}

/* The next block: K times the last, less what the basis has of it. scale: of K. */
static ntk_status expand(basis *b, int64_t last, double scale) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n =
      least(least(b->fresh, b->most + b->block - b->count), b->size - b->count);
  memcpy(b->v + b->count * b->rows, b->kv + last * b->rows,
         (size_t)(n * b->rows) * sizeof *b->v);
  NTK_TRY(orthonormalize(b, b->count, n, 1e-14 * scale));
  b->fresh = n;
done:
  return status;
}

/* Eigenvectors of h on rank 0, the same on all ranks. */
static ntk_status solve_small(basis *b) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = b->count;
  for (int64_t i = 0; i < n; i++)
    memcpy(b->s + i * n, b->h + i * b->most, (size_t)n * sizeof *b->s);
  if (b->context->rank == 0)
    status = ntk_small_eigen(n, b->s, b->theta);
  NTK_TRY(ntk_agree(b->context->comm, status));
  NTK_TRY(ntk_bcast(b->s, n * n * 8, 0, b->context->comm));
  NTK_TRY(ntk_bcast(b->theta, n * 8, 0, b->context->comm));
done:
  return status;
}

/* In place of the vectors: the last n eigenvectors of h times them, the largest first. */
static void combine(const basis *b, int64_t n, double *vectors) {
  ntk_gemm_f64(false, false, n, b->rows, b->count, 1, b->s + (b->count - n) * b->count,
               b->count, vectors, b->rows, 0, b->room, b->rows);
  for (int64_t k = 0; k < n; k++)
    memcpy(vectors + k * b->rows, b->room + (n - 1 - k) * b->rows,
           (size_t)b->rows * sizeof *vectors);
}

/* Replaces the basis by its n best vectors; `next` fresh ones behind it stay. */
static void restart(basis *b, int64_t n, int64_t next) {
  const size_t row_bytes = (size_t)b->rows * sizeof *b->v;
  combine(b, n, b->v);
  combine(b, n, b->kv);
  memmove(b->v + n * b->rows, b->v + b->count * b->rows, (size_t)next * row_bytes);
  memset(b->h, 0, (size_t)(b->most * b->most) * sizeof *b->h);
  for (int64_t k = 0; k < n; k++)
    b->h[k * b->most + k] = b->theta[b->count - 1 - k];
  b->count = n;
}

/* |K v - theta v| of the wanted vectors, which stand in front of the basis; the largest. */
static ntk_status measure(basis *b, double *worst) {
  ntk_status status = NTK_SUCCESS;
  ntk_lanczos *f = b->found;
  for (int64_t k = 0; k < f->count; k++) {
    const double theta = b->h[k * b->most + k];
    f->values[k] = theta;
    f->residuals[k] = 0;
    for (int64_t i = 0; i < b->rows; i++) {
      const double r = b->kv[k * b->rows + i] - theta * b->v[k * b->rows + i];
      f->residuals[k] += r * r;
    }
  }
  NTK_TRY(ntk_reduce(f->residuals, f->count, MPI_SUM, b->context->comm));
  *worst = 0;
  for (int64_t k = 0; k < f->count; k++) {
    f->residuals[k] = sqrt(f->residuals[k]);
    *worst = fmax(*worst, f->residuals[k]);
  }
done:
  return status;
}

/* Fills the basis, block by block; the last block behind it is not multiplied. */
static ntk_status fill(basis *b) {
  ntk_status status = NTK_SUCCESS;
  for (;;) {
    NTK_TRY(multiply(b));
    const int64_t last = b->count - b->fresh;
    NTK_TRY(expand(b, last, b->tiles->frobenius));
    if (b->count + b->fresh > b->most || b->fresh == 0)
      break;
    b->count += b->fresh;
  }
done:
  return status;
}

static ntk_status iterate(basis *b) {
  ntk_status status = NTK_SUCCESS;
  double worst = INFINITY, scale = 0;
  b->fresh = b->block;
  for (int64_t c = 0; c < b->block; c++)
    draw(b, b->v + c * b->rows);
  NTK_TRY(orthonormalize(b, 0, b->block, 0));
  b->count = b->block;
  for (int turn = 0; turn < MOST_RESTARTS; turn++) {
    NTK_TRY(fill(b));
    NTK_TRY(solve_small(b));
    scale = fmax(fabs(b->theta[0]), fabs(b->theta[b->count - 1]));
    const bool whole = b->fresh == 0;
    restart(b, least(b->count, b->wanted), b->fresh);
    NTK_TRY(measure(b, &worst));
    if (whole || worst <= tolerance * scale)
      goto done;
    b->count += b->fresh;
  }
  status = ntk_fail(NTK_ERR_NUMERICAL,
                    "the %" PRId64 " largest eigenvalues have not converged: a residual of "
                    "%.2g of the largest is left; use --method dense",
                    b->found->count, worst / scale);
done:
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static void set_sizes(basis *b, int64_t count) {
  const int size = b->context->size, rank = b->context->rank;
  b->block = least(ntk_lanczos_block(count), b->size);
  b->wanted = least(count + b->block, b->size);
  b->most = least(2 * count + 6 * b->block, b->size);
  for (int r = 0; r < size; r++) {
    b->starts[r] = (int)(b->size * r / size);
    b->counts[r] = (int)(b->size * (r + 1) / size - b->size * r / size);
  }
  b->first = b->starts[rank];
  b->rows = b->counts[rank];
}

static ntk_status allocate(basis *b, int64_t count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_memory_purpose p = NTK_MEMORY_FACTORS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, b->context->size, sizeof *b->counts, &b->counts));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, b->context->size, sizeof *b->starts, &b->starts));
  set_sizes(b, count);
  const int64_t most = b->most, all = most + b->block;
  NTK_TRY(ntk_malloc(p, all * b->rows, sizeof *b->v, &b->v));
  NTK_TRY(ntk_malloc(p, most * b->rows, sizeof *b->kv, &b->kv));
  NTK_TRY(ntk_malloc(p, b->wanted * b->rows, sizeof *b->room, &b->room));
  NTK_TRY(ntk_calloc(p, most * most, sizeof *b->h, &b->h));
  NTK_TRY(ntk_malloc(p, most * most, sizeof *b->s, &b->s));
  NTK_TRY(ntk_malloc(p, most, sizeof *b->theta, &b->theta));
  NTK_TRY(ntk_malloc(p, all * b->block, sizeof *b->dots, &b->dots));
  NTK_TRY(ntk_malloc(p, b->block * b->size, sizeof *b->x, &b->x));
  NTK_TRY(ntk_malloc(p, b->block * b->size, sizeof *b->y, &b->y));
  NTK_TRY(ntk_calloc(p, count, sizeof *b->found->values, &b->found->values));
  NTK_TRY(ntk_calloc(p, count, sizeof *b->found->residuals, &b->found->residuals));
  NTK_TRY(ntk_malloc(p, count * b->rows, sizeof *b->found->vectors, &b->found->vectors));
done:
  return status;
}

static void clear(basis *b) {
  ntk_free(&b->v);
  ntk_free(&b->kv);
  ntk_free(&b->h);
  ntk_free(&b->s);
  ntk_free(&b->theta);
  ntk_free(&b->room);
  ntk_free(&b->dots);
  ntk_free(&b->x);
  ntk_free(&b->y);
  ntk_free(&b->counts);
  ntk_free(&b->starts);
}

ntk_status ntk_lanczos_create(ntk_tiles *tiles, int64_t count, ntk_lanczos *out) {
  ntk_status status = NTK_SUCCESS;
  ntk_lanczos found = {.count = count, .size = tiles->size};
  basis b = {
      .tiles = tiles, .context = tiles->context, .size = tiles->size, .found = &found};
  NTK_REQUIRE(tiles->size < INT32_MAX, NTK_ERR_ARGUMENT,
              "a kernel of %" PRId64 " rows: eigenvalues are found of up to 2^31",
              tiles->size);
  NTK_TRY(ntk_agree(tiles->context->comm, allocate(&b, count)));
  found.first = b.first;
  found.rows = b.rows;
  NTK_TRY(iterate(&b));
  memcpy(found.vectors, b.v, (size_t)(count * b.rows) * sizeof *b.v);
  *out = found;
  found = (ntk_lanczos){0};
done:
  clear(&b);
  ntk_lanczos_destroy(&found);
  return status;
}

void ntk_lanczos_destroy(ntk_lanczos *l) {
  ntk_free(&l->values);
  ntk_free(&l->residuals);
  ntk_free(&l->vectors);
}

ntk_status ntk_lanczos_gather(ntk_context *context, const ntk_lanczos *l, int64_t k,
                              double *whole) {
  ntk_status status = NTK_SUCCESS;
  const double *mine = l->vectors + k * l->rows;
  if (context->rank != 0) {
    NTK_TRY_MPI(MPI_Send(mine, (int)l->rows, MPI_DOUBLE, 0, 0, context->comm));
    goto done;
  }
  memcpy(whole, mine, (size_t)l->rows * sizeof *whole);
  for (int r = 1; r < context->size; r++) {
    const int64_t first = l->size * r / context->size;
    NTK_TRY_MPI(MPI_Recv(whole + first, (int)(l->size * (r + 1) / context->size - first),
                         MPI_DOUBLE, r, 0, context->comm, MPI_STATUS_IGNORE));
  }
done:
  return status;
}
