/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_MICRO_H
#define NTK_NTK_MICRO_H

#include "ntk/block.h"
#include "tensor/real.h"

/* The products of contraction: one register-blocked kernel under several loops, compiled
 * from one source for each type and each width of vectors (micro_simd.c) and chosen when
 * the program runs. For files named *_real.c and *_simd.c. All functions are local,
 * single-threaded, allocate nothing.
 *
 * The left operand stands in rows as it is. The right one is packed once and used often:
 * `count` vectors of length k become, slice by slice of NTK_SLICE along k, panels of three
 * hardware vectors of columns (ntk_packed elements). No element's rounding depends on the
 * cut of rows and columns into calls: each is one chain of NTK_SLICE terms after the other.
 */
/* C[rows, columns] = A B^T, or with `add` += it. */
typedef struct NTK_REAL(ntk_product) {
  int64_t rows, columns, k;
  const real *a; /* [rows, k], leading dimension lda */
  const real *b; /* packed */
  real *c;
  int64_t lda, ldc;
  bool add;
} NTK_REAL(ntk_product);

/* The same, folded: t[r, c] += s[r / s_rows, c] (A B^T)[r, c]; without s: alpha for it.
 * Elements with c > r + diagonal need not be right. */
typedef struct NTK_REAL(ntk_fold) {
  int64_t rows, columns, k;
  const real *a, *b;
  int64_t lda;
  const real *s; /* [rows / s_rows, columns] or NULL */
  int64_t lds, s_rows;
  double alpha;
  double *t;
  int64_t ldt, diagonal;
} NTK_REAL(ntk_fold);

/* Folded over positions: t[u, m, v] += alpha sum over t,s of s[t, (m,s)] E[(u,t), (v,m,s)],
 * E = A B^T with the columns of each v packed on their own. */
typedef struct NTK_REAL(ntk_fold_positions) {
  int64_t T, u, v, m, k;
  const real *a; /* [u, T, k], rows lda apart, u stride_a */
  int64_t stride_a;
  const real *b; /* [v] packed (m,s) */
  int64_t lda;
  const real *s; /* [T, (m,s)] */
  int64_t lds;
  double alpha;
  double *t; /* [u, m, v] */
  int64_t ldt;
} NTK_REAL(ntk_fold_positions);

/* r[o, p] += sum over chunks c, positions t and 16 channels of d[c, t, o] f[t, c, p], each
 * r a vector of partial sums. */
typedef struct NTK_REAL(ntk_dots) {
  int64_t chunks, T, o, p;
  const real *d; /* [chunks, T, o, 16] */
  const real *f; /* [T, chunks, p, 16], leading dimension ldf */
  int64_t ldf;
  real *r; /* [o, p, 16], of which one hardware vector is used */
} NTK_REAL(ntk_dots);

typedef struct NTK_REAL(ntk_micro) {
  const char *name; /* "avx512", "avx2", "portable" */
  /* Vector i of length k at from + (i / block) * stride + (i % block) * ld. */
  void (*pack)(int64_t count, int64_t k, const real *from, int64_t ld, int64_t block,
               int64_t stride, real *to);
  /* Vector i of length k at from + i, its elements ld apart. */
  void (*pack_columns)(int64_t count, int64_t k, const real *from, int64_t ld, real *to);
  /* The same of the elements j .. j + n of each, which stand at from + i alone. */
  void (*pack_some)(int64_t count, int64_t k, int64_t j, int64_t n, const real *from,
                    int64_t ld, real *to);
  /* chunks x p x 16 columns of length T from [chunks, T, p, 16]. */
  void (*pack_chunks)(int64_t chunks, int64_t T, int64_t p, const real *from, real *to);
  void (*multiply)(const NTK_REAL(ntk_product) *);
  void (*fold)(const NTK_REAL(ntk_fold) *);
  void (*fold_positions)(const NTK_REAL(ntk_fold_positions) *);
  void (*dots)(const NTK_REAL(ntk_dots) *);
  /* t[o, p] += alpha times the sum of r[o, p]. */
  void (*add_dots)(int64_t o, int64_t p, const real *r, double alpha, double *t,
                   int64_t ldt);
  /* to[c, r] = from[r, c]. */
  void (*transpose)(int64_t rows, int64_t columns, const real *from, int64_t ld, real *to,
                    int64_t ld_to);
} NTK_REAL(ntk_micro);

/* Each width's table. */
#define NTK_MICRO_JOIN(type, width) ntk_micro_##type##_##width
#if NTK_DOUBLE
#define NTK_MICRO(width) NTK_MICRO_F64(width)
#define NTK_MICRO_F64(width) NTK_MICRO_JOIN(f64, width)
#else
#define NTK_MICRO(width) NTK_MICRO_F32(width)
#define NTK_MICRO_F32(width) NTK_MICRO_JOIN(f32, width)
#endif

/* The i-th of those that the processor has, the widest first; NULL behind the last. */
const NTK_REAL(ntk_micro) * NTK_REAL(ntk_micro_at)(int i);

/* The widest that the processor has; SCANTK_SIMD=portable|avx2|avx512 in the environment
 * asks for a narrower one. */
const NTK_REAL(ntk_micro) * NTK_REAL(ntk_micro_get)(void);

#endif
