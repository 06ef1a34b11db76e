/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_SKETCH_H
#define NTK_NTK_SKETCH_H

#include <stdint.h>

/* The matrix R [dim, P] of a random projection (Johnson and Lindenstrauss 1984; signs:
 * Achlioptas 2003): independent entries of mean 0 and variance 1, each a function of the
 * seed, its row and the number of its parameter alone. It is made where it is needed and
 * never stored. All calls here are local and pure. */
typedef enum ntk_sketch_kind { NTK_SKETCH_RADEMACHER, NTK_SKETCH_GAUSSIAN } ntk_sketch_kind;

typedef struct ntk_sketch {
  ntk_sketch_kind kind;
  uint64_t seed;
  int64_t dim;
} ntk_sketch;

/* Rows of R that are made at once: what one draw has bits for. */
enum { NTK_SKETCH_ROWS = 256 };
static inline int64_t ntk_sketch_blocks(const ntk_sketch *sketch) {
  return (sketch->dim + NTK_SKETCH_ROWS - 1) / NTK_SKETCH_ROWS;
}

/* out[i, j] = R[block * NTK_SKETCH_ROWS + j, parameters[i]], also for rows behind dim:
 * [count, NTK_SKETCH_ROWS].
 *   rademacher: +1 or -1 as bit j of the draw (domain 1, stream block, index parameter) is
 *     0 or 1, bits counted from the lowest of word 0 on;
 *   gaussian: a pair (j, j + 1) for each word w = j % 8 / 2 of the draw (domain 2, stream
 *     (block * NTK_SKETCH_ROWS + j) / 8, index parameter): with u = (low half + 1/2) / 2^32
 *     and v = (high half + 1/2) / 2^32 of it, sqrt(-2 ln u) times the cosine and the sine
 *     of 2 pi (v - 1/8) (Box and Muller 1958).
 * Cost: 1 and about 10 cycles an entry. */
void ntk_sketch_fill_f32(const ntk_sketch *sketch, int64_t block, int64_t count,
                         const int64_t *parameters, float *out);
void ntk_sketch_fill_f64(const ntk_sketch *sketch, int64_t block, int64_t count,
                         const int64_t *parameters, double *out);

#endif
