/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include <string.h>

/* Compiled for each type and width: NTK_WIDTH bytes of a vector, NTK_WIDTH_NAME its name.
 */
#define NTK_LANES (NTK_WIDTH * (2 - NTK_DOUBLE) / 8)
#define INLINE static inline __attribute__((always_inline))

typedef real vector __attribute__((vector_size(NTK_WIDTH), may_alias));
typedef real unaligned
    __attribute__((vector_size(NTK_WIDTH), aligned(sizeof(real)), may_alias));

/* Registers: ROWS x VECTORS sums, VECTORS of the right operand, one of the left. */
enum {
  LANES = NTK_LANES,
  VECTORS = 3,
  ROWS = NTK_WIDTH == 64 ? 8 : 4,
  PANEL = VECTORS * LANES,
  GROUP = 4,                       /* panels whose slices stay in the second cache */
  DOT_O = NTK_WIDTH == 64 ? 5 : 3, /* of dot products */
  DOT_P = NTK_WIDTH == 64 ? 5 : 4
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

/* ---- packing --------------------------------------------------------------------------
 */

/* f(i, b) for each place i of a vector. */
#define PLACES_2(f, b) f(0, b), f(1, b)
#define PLACES_4(f, b) PLACES_2(f, b), f(2, b), f(3, b)
#define PLACES_8(f, b) PLACES_4(f, b), f(4, b), f(5, b), f(6, b), f(7, b)
#if NTK_LANES == 2
#define PLACES PLACES_2
#elif NTK_LANES == 4
#define PLACES PLACES_4
#elif NTK_LANES == 8
#define PLACES PLACES_8
#else
#define PLACES(f, b)                                                                       \
  PLACES_8(f, b), f(8, b), f(9, b), f(10, b), f(11, b), f(12, b), f(13, b), f(14, b),      \
      f(15, b)
#endif

/* Rows i and i + b exchange what stands off the diagonal of 2 x 2 blocks of b x b. */
#define UPPER(i, b) ((i) & (b) ? (i) - (b) + LANES : (i))
#define LOWER(i, b) ((i) & (b) ? (i) + LANES : (i) + (b))
#define EXCHANGE(r, b)                                                                     \
  _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if ((i & b) == 0) {             \
    const vector upper = __builtin_shufflevector(r[i], r[i + b], PLACES(UPPER, b));        \
    r[i + b] = __builtin_shufflevector(r[i], r[i + b], PLACES(LOWER, b));                  \
    r[i] = upper;                                                                          \
  }

INLINE void transpose_square(vector *r) {
  EXCHANGE(r, 1)
#if NTK_LANES > 2
  EXCHANGE(r, 2)
#endif
#if NTK_LANES > 4
  EXCHANGE(r, 4)
#endif
#if NTK_LANES > 8
  EXCHANGE(r, 8)
#endif
}

/* out[j][width] = from[i][j], LANES x LANES; zeros for i >= count. */
INLINE void pack_square(int64_t count, int64_t width, const real *const *from, int64_t j,
                        real *out) {
  vector r[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++)
    r[i] = i < count ? *(const unaligned *)(from[i] + j) : (unaligned){0};
  transpose_square(r);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++)
    *(unaligned *)(out + i * width) = r[i];
}

/* A slice of one panel: out[k][width] of `count` vectors, zeros behind them. */
static void pack_panel(int64_t count, int64_t width, int64_t k, const real *const *from,
                       int64_t k0, real *out) {
  enum { BLOCK = 64 };
  const int64_t whole = k / LANES * LANES;
  for (int64_t j0 = 0; j0 < whole; j0 += BLOCK)
    for (int64_t i = 0; i < width; i += LANES)
      for (int64_t j = j0; j < least(j0 + BLOCK, whole); j += LANES)
        if (i + LANES <= count)
          pack_square(LANES, width, from + i, k0 + j, out + j * width + i);
        else
          pack_square(count - i, width, from + i, k0 + j, out + j * width + i);
  for (int64_t j = whole; j < k; j++)
    for (int64_t i = 0; i < width; i++)
      out[j * width + i] = i < count ? from[i][k0 + j] : 0;
}

static void pack(int64_t count, int64_t k, const real *from, int64_t ld, int64_t block,
                 int64_t stride, real *to) {
  const real *rows[PANEL];
  for (int64_t i = 0; i < count; i += PANEL) {
    const int64_t columns = least(PANEL, count - i);
    for (int64_t j = 0; j < columns; j++)
      rows[j] = from + (i + j) / block * stride + (i + j) % block * ld;
    for (int64_t k0 = 0; k0 < k; k0 += NTK_SLICE) {
      const int64_t kc = least(NTK_SLICE, k - k0);
      pack_panel(columns, least(PANEL, round_up(columns, LANES)), kc, rows, k0,
                 to + k0 * round_up(count, NTK_CHUNK) + i * kc);
    }
  }
}

/* Whole vectors of a row; the last one has zeros behind. */
INLINE void pack_row(int64_t columns, const real *from, real *to) {
  int64_t i = 0;
  for (; i + LANES <= columns; i += LANES)
    *(unaligned *)(to + i) = *(const unaligned *)(from + i);
  if (i == columns)
    return;
  *(unaligned *)(to + i) = (vector){0};
  for (; i < columns; i++)
    to[i] = from[i];
}

/* k rows of one panel. */
INLINE void pack_rows(int64_t columns, int64_t k, const real *from, int64_t ld, real *out) {
  const int64_t width = round_up(columns, LANES);
  for (int64_t j = 0; j < k; j++)
    pack_row(columns, from + j * ld, out + j * width);
}

static void pack_some(int64_t count, int64_t k, int64_t first, int64_t n, const real *from,
                      int64_t ld, real *to) {
  enum { BLOCK = 16 }; /* rows, so that whole ones are read */
  for (int64_t j = first, rows; j < first + n; j += rows, from += rows * ld) {
    const int64_t k0 = j / NTK_SLICE * NTK_SLICE, kc = least(NTK_SLICE, k - k0);
    rows = least(least(BLOCK, first + n - j), k0 + kc - j);
    for (int64_t i = 0; i < count; i += PANEL) {
      const int64_t columns = least(PANEL, count - i), width = round_up(columns, LANES);
      real *out = to + k0 * round_up(count, NTK_CHUNK) + i * kc + (j - k0) * width;
      if (columns == PANEL)
        pack_rows(PANEL, rows, from + i, ld, out);
      else
        pack_rows(columns, rows, from + i, ld, out);
    }
  }
}

static void pack_columns(int64_t count, int64_t k, const real *from, int64_t ld, real *to) {
  pack_some(count, k, 0, k, from, ld, to);
}

static void pack_chunks(int64_t chunks, int64_t T, int64_t p, const real *from, real *to) {
  const int64_t count = chunks * p * NTK_CHUNK;
  for (int64_t k0 = 0; k0 < T; k0 += NTK_SLICE) {
    const int64_t kc = least(NTK_SLICE, T - k0);
    for (int64_t i = 0; i < count; i += LANES) {
      const int64_t panel = i / PANEL * PANEL, width = least(PANEL, count - panel);
      const int64_t chunk = i / (p * NTK_CHUNK), rest = i % (p * NTK_CHUNK);
      const real *in = from + (chunk * T + k0) * p * NTK_CHUNK + rest;
      real *out = to + k0 * count + panel * kc + (i - panel);
      for (int64_t j = 0; j < kc; j++)
        *(unaligned *)(out + j * width) = *(const unaligned *)(in + j * p * NTK_CHUNK);
    }
  }
}

/* ---- the kernel -----------------------------------------------------------------------
 */

/* Columns that will be needed next come into the second cache meanwhile: `lines` of them
 * every STEP terms of a tile. Without it few rows wait for them a sixth of their time. */
typedef struct ahead {
  const char *next;
  int64_t lines;
} ahead;

enum { LINE = 64, STEP = 64 };

/* While `rows` go against the columns i0 .. end of a slice: as many behind these. */
INLINE ahead ahead_of(const real *slice, int64_t kc, int64_t i0, int64_t end,
                      int64_t rows) {
  const int64_t tiles = (rows + ROWS - 1) / ROWS * ((end - i0 + PANEL - 1) / PANEL);
  const int64_t steps = tiles * ((kc + STEP - 1) / STEP);
  const int64_t lines = (end - i0) * kc * (int64_t)sizeof(real) / LINE;
  return (ahead){(const char *)(slice + end * kc), (lines + steps - 1) / steps};
}

INLINE ahead fetch(ahead after) {
  for (int64_t i = 0; i < after.lines; i++, after.next += LINE)
    __builtin_prefetch(after.next, 0, 2);
  return after;
}

/* sum += `rows` rows of a times a panel of `vectors` vectors, k terms. */
INLINE void multiply_step(int rows, int vectors, int64_t k, const real *a, int64_t lda,
                          const real *b, vector sum[ROWS][VECTORS]) {
  for (int64_t j = 0; j < k; j++) {
    vector right[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
      right[v] = *(const unaligned *)(b + (j * vectors + v) * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
      const vector left = a[i * lda + j] - (vector){0};
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++)
        sum[i][v] += left * right[v];
    }
  }
}

/* c[rows, columns], leading dimension ldc, = the same. */
INLINE ahead multiply_tile(int rows, int vectors, int64_t k, const real *a, int64_t lda,
                           const real *b, real *c, int64_t ldc, ahead after) {
  vector sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
      sum[i][v] = (vector){0};
  for (int64_t j = 0; j < k; j += STEP) {
    after = fetch(after);
    multiply_step(rows, vectors, least(STEP, k - j), a + j, lda,
                  b + j * (int64_t)vectors * LANES, sum);
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
      *(unaligned *)(c + i * ldc + (int64_t)v * LANES) = sum[i][v];
  return after;
}

typedef ahead (*tile_fn)(int64_t k, const real *a, int64_t lda, const real *b, real *c,
                         int64_t ldc, ahead after);
/* clang-format off */
#define TILE(rows, vectors)                                                                \
  static ahead tile_##rows##_##vectors(int64_t k, const real *a, int64_t lda,              \
                                       const real *b, real *c, int64_t ldc, ahead after) { \
    return multiply_tile(rows, vectors, k, a, lda, b, c, ldc, after);                      \
  }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)
#define NAMES(rows) {tile_##rows##_1, tile_##rows##_2, tile_##rows##_3}
#if NTK_WIDTH == 64
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6) TILES(7) TILES(8)
static const tile_fn tiles[ROWS][VECTORS] = {
  NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), NAMES(6), NAMES(7), NAMES(8)};
#else
TILES(1) TILES(2) TILES(3) TILES(4)
static const tile_fn tiles[ROWS][VECTORS] = {NAMES(1), NAMES(2), NAMES(3), NAMES(4)};
#endif
/* clang-format on */

/* Panel i0 of a slice. */
typedef struct panel {
  int64_t columns; /* that are real */
  int vectors;
  const real *b;
} panel;

INLINE panel panel_at(const real *slice, int64_t count, int64_t kc, int64_t i0) {
  const int64_t columns = least(PANEL, count - i0);
  return (panel){columns, (int)((columns + LANES - 1) / LANES), slice + i0 * kc};
}

/* ---- loops ----------------------------------------------------------------------------
 */

/* In vectors by hand: a compiler makes calls of memcpy out of loops that copy. */
INLINE void put_row(int64_t columns, const real *c, bool add, real *to) {
  int64_t i = 0;
  for (; i + LANES <= columns; i += LANES) {
    vector sum = *(const vector *)(c + i);
    if (add)
      sum += *(const unaligned *)(to + i);
    *(unaligned *)(to + i) = sum;
  }
  for (; i < columns; i++)
    to[i] = add ? to[i] + c[i] : c[i];
}

/* Rows against the panels i0 .. end of a slice. */
INLINE void multiply_group(const NTK_REAL(ntk_product) * x, const real *slice, int64_t k0,
                           int64_t kc, int64_t i0, int64_t end) {
  const bool add = x->add || k0 > 0;
  ahead after = ahead_of(slice, kc, i0, end, x->rows);
  real c[ROWS * PANEL] __attribute__((aligned(64)));
  for (int64_t r0 = 0; r0 < x->rows; r0 += ROWS) {
    const int64_t rows = least(ROWS, x->rows - r0);
    for (int64_t i = i0; i < end; i += PANEL) {
      const panel p = panel_at(slice, x->columns, kc, i);
      real *to = x->c + r0 * x->ldc + i;
      const tile_fn tile = tiles[rows - 1][p.vectors - 1];
      const real *left = x->a + r0 * x->lda + k0;
      if (!add && p.columns == (int64_t)p.vectors * LANES) {
        after = tile(kc, left, x->lda, p.b, to, x->ldc, after);
        continue;
      }
      after = tile(kc, left, x->lda, p.b, c, PANEL, after);
      for (int64_t r = 0; r < rows; r++)
        if (p.columns == PANEL)
          put_row(PANEL, c + r * PANEL, add, to + r * x->ldc);
        else
          put_row(p.columns, c + r * PANEL, add, to + r * x->ldc);
    }
  }
}

/* Short slices leave room for more panels: rows of C are then written further at once. */
static void multiply(const NTK_REAL(ntk_product) * x) {
  for (int64_t k0 = 0; k0 < x->k; k0 += NTK_SLICE) {
    const int64_t kc = least(NTK_SLICE, x->k - k0), step = NTK_SLICE / kc * GROUP * PANEL;
    const real *slice = x->b + k0 * round_up(x->columns, NTK_CHUNK);
    for (int64_t i0 = 0; i0 < x->columns; i0 += step)
      multiply_group(x, slice, k0, kc, i0, least(i0 + step, x->columns));
  }
}

/* The sums of a tile travel from far while its products are made. */
INLINE void fetch_rows(const NTK_REAL(ntk_fold) * x, int64_t r0, int64_t rows, int64_t i0) {
  for (int64_t r = r0; r < r0 + rows; r++)
    for (int64_t i = 0; i < PANEL; i += LINE / (int64_t)sizeof(double))
      __builtin_prefetch(x->t + r * x->ldt + i0 + i, 1);
}

INLINE void fold_rows(const NTK_REAL(ntk_fold) * x, int64_t r0, int64_t rows, int64_t i0,
                      int64_t columns, const real *c) {
  for (int64_t r = 0; r < rows; r++) {
    double *restrict t = x->t + (r0 + r) * x->ldt + i0;
    const real *restrict e = c + r * PANEL;
    if (x->s) {
      const real *restrict s = x->s + (r0 + r) / x->s_rows * x->lds + i0;
      for (int64_t i = 0; i < columns; i++)
        t[i] += (double)(s[i] * e[i]);
    } else {
      for (int64_t i = 0; i < columns; i++)
        t[i] += x->alpha * (double)e[i];
    }
  }
}

/* Rows against the panels i0 .. end of a slice. */
INLINE void fold_group(const NTK_REAL(ntk_fold) * x, const real *slice, int64_t k0,
                       int64_t kc, int64_t i0, int64_t end) {
  ahead after = ahead_of(slice, kc, i0, end, x->rows);
  real c[ROWS * PANEL] __attribute__((aligned(64)));
  for (int64_t r0 = 0; r0 < x->rows; r0 += ROWS) {
    const int64_t rows = least(ROWS, x->rows - r0);
    for (int64_t i = i0; i < end && i <= r0 + rows - 1 + x->diagonal; i += PANEL) {
      const panel p = panel_at(slice, x->columns, kc, i);
      fetch_rows(x, r0, rows, i);
      after = tiles[rows - 1][p.vectors - 1](kc, x->a + r0 * x->lda + k0, x->lda, p.b, c,
                                             PANEL, after);
      if (p.columns == PANEL)
        fold_rows(x, r0, rows, i, PANEL, c);
      else
        fold_rows(x, r0, rows, i, p.columns, c);
    }
  }
}

static void fold(const NTK_REAL(ntk_fold) * x) {
  for (int64_t k0 = 0; k0 < x->k; k0 += NTK_SLICE) {
    const int64_t kc = least(NTK_SLICE, x->k - k0);
    const real *slice = x->b + k0 * round_up(x->columns, NTK_CHUNK);
    for (int64_t i0 = 0; i0 < x->columns; i0 += (int64_t)GROUP * PANEL)
      fold_group(x, slice, k0, kc, i0, least(i0 + (int64_t)GROUP * PANEL, x->columns));
  }
}

/* Sums over the rows t of one u, for a group of panels; then over s, into t[m]. */
INLINE void fold_unit(const NTK_REAL(ntk_fold_positions) * x, const real *slice,
                      const real *a, int64_t kc, int64_t i0, ahead *after, double *out) {
  const int64_t columns = x->m * x->T, end = least(i0 + (int64_t)GROUP * PANEL, columns);
  real c[ROWS * PANEL] __attribute__((aligned(64)));
  real sums[GROUP * PANEL] __attribute__((aligned(64)));
  memset(sums, 0, sizeof sums);
  for (int64_t t0 = 0; t0 < x->T; t0 += ROWS) {
    const int64_t rows = least(ROWS, x->T - t0);
    for (int64_t i = i0; i < end; i += PANEL) {
      const panel p = panel_at(slice, columns, kc, i);
      real *restrict sum = sums + (i - i0);
      *after = tiles[rows - 1][p.vectors - 1](kc, a + t0 * x->lda, x->lda, p.b, c, PANEL,
                                              *after);
      for (int64_t r = 0; r < rows; r++) {
        const real *restrict s = x->s + (t0 + r) * x->lds + i;
        for (int64_t j = 0; j < p.columns; j++)
          sum[j] += s[j] * c[r * PANEL + j];
      }
    }
  }
  for (int64_t i = i0; i < end;) {
    const int64_t m = i / x->T, last = least((m + 1) * x->T, end);
    double sum = 0;
    for (; i < last; i++)
      sum += (double)sums[i - i0];
    out[m * x->v] += x->alpha * sum;
  }
}

static void fold_positions(const NTK_REAL(ntk_fold_positions) * x) {
  const int64_t columns = x->m * x->T, padded = round_up(columns, NTK_CHUNK);
  for (int64_t k0 = 0; k0 < x->k; k0 += NTK_SLICE) {
    const int64_t kc = least(NTK_SLICE, x->k - k0);
    for (int64_t v = 0; v < x->v; v++)
      for (int64_t i0 = 0; i0 < columns; i0 += (int64_t)GROUP * PANEL) {
        const real *slice = x->b + (v * x->k + k0) * padded;
        ahead after = ahead_of(slice, kc, i0, least(i0 + (int64_t)GROUP * PANEL, columns),
                               x->u * x->T);
        for (int64_t u = 0; u < x->u; u++)
          fold_unit(x, slice, x->a + u * x->stride_a + k0, kc, i0, &after,
                    x->t + u * x->ldt + v);
      }
  }
}

/* ---- dot products ---------------------------------------------------------------------
 */

INLINE void dot_tile(int no, int np, const NTK_REAL(ntk_dots) * x, int64_t o0, int64_t p0) {
  vector sum[DOT_O][DOT_P];
#pragma GCC unroll 8
  for (int o = 0; o < no; o++)
#pragma GCC unroll 8
    for (int p = 0; p < np; p++)
      sum[o][p] = *(const unaligned *)(x->r + ((o0 + o) * x->p + p0 + p) * NTK_CHUNK);
  for (int64_t chunk = 0; chunk < x->chunks; chunk++) {
    const real *d = x->d + (chunk * x->T * x->o + o0) * NTK_CHUNK;
    const real *f = x->f + (chunk * x->p + p0) * NTK_CHUNK;
    for (int64_t t = 0; t < x->T; t++, d += x->o * NTK_CHUNK, f += x->ldf)
#pragma GCC unroll 1
      for (int part = 0; part < NTK_CHUNK; part += LANES) {
        vector left[DOT_O];
#pragma GCC unroll 8
        for (int o = 0; o < no; o++)
          left[o] = *(const unaligned *)(d + (int64_t)o * NTK_CHUNK + part);
#pragma GCC unroll 8
        for (int p = 0; p < np; p++) {
          const vector right = *(const unaligned *)(f + (int64_t)p * NTK_CHUNK + part);
#pragma GCC unroll 8
          for (int o = 0; o < no; o++)
            sum[o][p] += left[o] * right;
        }
      }
  }
#pragma GCC unroll 8
  for (int o = 0; o < no; o++)
#pragma GCC unroll 8
    for (int p = 0; p < np; p++)
      *(unaligned *)(x->r + ((o0 + o) * x->p + p0 + p) * NTK_CHUNK) = sum[o][p];
}

typedef void (*dot_fn)(const NTK_REAL(ntk_dots) * x, int64_t o0, int64_t p0);
/* clang-format off */
#define DOT(no, np)                                                                        \
  static void dot_##no##_##np(const NTK_REAL(ntk_dots) * x, int64_t o0, int64_t p0) {      \
    dot_tile(no, np, x, o0, p0);                                                           \
  }
#define DOT_NAMES4(no) dot_##no##_1, dot_##no##_2, dot_##no##_3, dot_##no##_4
#if NTK_WIDTH == 64
#define DOTS(no) DOT(no, 1) DOT(no, 2) DOT(no, 3) DOT(no, 4) DOT(no, 5)
#define DOT_NAMES(no) {DOT_NAMES4(no), dot_##no##_5}
DOTS(1) DOTS(2) DOTS(3) DOTS(4) DOTS(5)
static const dot_fn dot_tiles[DOT_O][DOT_P] = {
  DOT_NAMES(1), DOT_NAMES(2), DOT_NAMES(3), DOT_NAMES(4), DOT_NAMES(5)};
#else
#define DOTS(no) DOT(no, 1) DOT(no, 2) DOT(no, 3) DOT(no, 4)
#define DOT_NAMES(no) {DOT_NAMES4(no)}
DOTS(1) DOTS(2) DOTS(3)
static const dot_fn dot_tiles[DOT_O][DOT_P] = {DOT_NAMES(1), DOT_NAMES(2), DOT_NAMES(3)};
#endif
/* clang-format on */

/* A size near `most` that cuts n into equal parts. */
static int64_t part_of(int64_t n, int64_t most) {
  const int64_t parts = (n + most - 1) / most;
  return (n + parts - 1) / parts;
}

static void dots(const NTK_REAL(ntk_dots) * x) {
  const int64_t no = part_of(x->o, DOT_O), np = part_of(x->p, DOT_P);
  for (int64_t o = 0; o < x->o; o += no)
    for (int64_t p = 0; p < x->p; p += np)
      dot_tiles[least(no, x->o - o) - 1][least(np, x->p - p) - 1](x, o, p);
}

static void add_dots(int64_t o, int64_t p, const real *r, double alpha, double *t,
                     int64_t ldt) {
  for (int64_t i = 0; i < o; i++)
    for (int64_t j = 0; j < p; j++) {
      double sum = 0;
      for (int lane = 0; lane < LANES; lane++)
        sum += (double)r[(i * p + j) * NTK_CHUNK + lane];
      t[i * ldt + j] += alpha * sum;
    }
}

/* ---- transposition --------------------------------------------------------------------
 */

/* LANES rows, or fewer, from column j0 on. */
INLINE void transpose_rows(int64_t rows, int64_t j0, int64_t end, const real *from,
                           int64_t ld, real *to, int64_t ld_to) {
  const real *in[LANES];
  for (int64_t r = 0; r < rows; r++)
    in[r] = from + r * ld;
  for (; rows == LANES && j0 + LANES <= end; j0 += LANES)
    pack_square(LANES, ld_to, in, j0, to + j0 * ld_to);
  for (; j0 < end; j0++)
    for (int64_t r = 0; r < rows; r++)
      to[j0 * ld_to + r] = in[r][j0];
}

static void transpose(int64_t rows, int64_t columns, const real *from, int64_t ld, real *to,
                      int64_t ld_to) {
  enum { BLOCK = 256 };
  for (int64_t j = 0; j < columns; j += BLOCK)
    for (int64_t i = 0; i < rows; i += LANES)
      transpose_rows(least(LANES, rows - i), j, least(j + BLOCK, columns), from + i * ld,
                     ld, to + i, ld_to);
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const NTK_REAL(ntk_micro) NTK_MICRO(NTK_WIDTH_NAME) = {.name = TEXT(NTK_WIDTH_NAME),
                                                       .pack = pack,
                                                       .pack_columns = pack_columns,
                                                       .pack_some = pack_some,
                                                       .pack_chunks = pack_chunks,
                                                       .multiply = multiply,
                                                       .fold = fold,
                                                       .fold_positions = fold_positions,
                                                       .dots = dots,
                                                       .add_dots = add_dots,
                                                       .transpose = transpose};
