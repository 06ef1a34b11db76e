/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/panel.h"
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define VECTOR(name, bytes)                                                                \
  typedef real name __attribute__((vector_size(bytes), aligned(sizeof(real)), may_alias))

/* The code of one width of vectors: `bytes` of a vector, `rows` x 3 sums in registers. */
#define WIDTH(name, target, bytes, rows)                                                   \
  VECTOR(name##_vector, bytes);                                                            \
                                                                                           \
  target INLINE void name##_tile(int vectors, int64_t k, const real *a, const real *b,     \
                                 int64_t width, real *c, bool add) {                       \
    enum { LANES = (bytes) / sizeof(real) };                                               \
    name##_vector sum[rows][3];                                                            \
    _Pragma("GCC unroll 8") for (int i = 0; i < (rows); i++)                               \
        _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++) sum[i][v] =              \
            (name##_vector){0};                                                            \
    for (int64_t j = 0; j < k; j++, a += NTK_PANEL_ROWS, b += width) {                     \
      name##_vector right[3];                                                              \
      _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++) right[v] =                 \
          *(const name##_vector *)(b + v * (int64_t)LANES);                                \
      _Pragma("GCC unroll 8") for (int i = 0; i < (rows); i++)                             \
          _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++) sum[i][v] +=           \
          a[i] * right[v];                                                                 \
    }                                                                                      \
    _Pragma("GCC unroll 8") for (int i = 0; i < (rows); i++)                               \
        _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++) {                        \
      name##_vector *to = (name##_vector *)(c + i * width + v * (int64_t)LANES);           \
      if (add)                                                                             \
        sum[i][v] += *to;                                                                  \
      *to = sum[i][v];                                                                     \
    }                                                                                      \
  }                                                                                        \
                                                                                           \
  target static void name##_multiply(int64_t k, const real *a, const real *b,              \
                                     int64_t width, real *c, bool add) {                   \
    enum { LANES = (bytes) / sizeof(real) };                                               \
    for (int r = 0; r < NTK_PANEL_ROWS; r += (rows))                                       \
      for (int64_t i = 0; i < width; i += 3 * (int64_t)LANES) {                            \
        real *to = c + r * width + i;                                                      \
        if (width - i >= 3 * (int64_t)LANES)                                               \
          name##_tile(3, k, a + r, b + i, width, to, add);                                 \
        else if (width - i >= 2 * (int64_t)LANES)                                          \
          name##_tile(2, k, a + r, b + i, width, to, add);                                 \
        else                                                                               \
          name##_tile(1, k, a + r, b + i, width, to, add);                                 \
      }                                                                                    \
  }                                                                                        \
                                                                                           \
  target static void name##_gather(int64_t count, const ntk_panel_run *runs,               \
                                   const real *from, real *row) {                          \
    enum { LANES = (bytes) / sizeof(real) };                                               \
    for (const ntk_panel_run *r = runs; r < runs + count; r++)                             \
      for (int64_t e = 0; e < r->length; e += LANES)                                       \
        *(name##_vector *)(row + r->to + e) =                                              \
            *(const name##_vector *)(from + r->from + e);                                  \
  }                                                                                        \
                                                                                           \
  static const NTK_REAL(ntk_panel) name = {#name, name##_multiply, name##_gather};

WIDTH(portable, , 16, 4)
#if defined(__x86_64__)
WIDTH(avx2, __attribute__((target("avx2,fma"))), 32, 4)
WIDTH(avx512, __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), 64, 8)
#endif

const NTK_REAL(ntk_panel) * NTK_REAL(ntk_panel_get)(void) {
  const NTK_REAL(ntk_panel) *panel = &portable;
#if defined(__x86_64__)
  const char *most = getenv("SCANTK_SIMD");
  if (most && strcmp(most, portable.name) == 0)
    return panel;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    panel = &avx2;
  if (most && strcmp(most, avx2.name) == 0)
    return panel;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    panel = &avx512;
#endif
  return panel;
}
