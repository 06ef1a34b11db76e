/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_BLOCK_H
#define NTK_NTK_BLOCK_H

#include "autodiff/sweep.h"
#include "base/meanwhile.h"
#include "ntk/groups.h"
#include <scantk/plan.h>

/* The factors of one row block (n samples, o outputs), one buffer: what is swept once, sent
 * along the grid, and contracted with others. Private to src/ntk. */

/* How a group is contracted (design section 4). */
#define NTK_ORDER_LIST(X)                                                                  \
  X(NTK_ORDER_OUTSIDE_IN, "outside-in")                                                    \
  X(NTK_ORDER_INSIDE_OUT, "inside-out")                                                    \
  X(NTK_ORDER_LEFT_TO_RIGHT, "left-to-right")                                              \
  X(NTK_ORDER_CONSTANT, "constant")
typedef enum ntk_order {
#define NTK_ORDER_ENUM(name, text) name,
  NTK_ORDER_LIST(NTK_ORDER_ENUM)
#undef NTK_ORDER_ENUM
      NTK_ORDERS
} ntk_order;
const char *ntk_order_name(ntk_order order);

/* What a tile is, for the arithmetic: pseudo is full with one cotangent. */
typedef enum ntk_form { NTK_FORM_FULL, NTK_FORM_TRACE, NTK_FORM_DIAGONAL } ntk_form;
ntk_form ntk_form_of(ntk_reduction reduction);

/* A group's place in the buffer, in elements:
 *   X [g, n, t, k] and [g, n, pixels of its parts, channels] (pixels.h), indices likewise
 *   D full [g, n, o, t, c] for T = 1, else [g, o, n, t, c]; trace [g, n, t, o, c]; diagonal
 *     [g, o, n, t, c]; left-to-right [g, n, chunk of 16 c, t, o, 16], zeros behind C
 *   J full and trace [n, o, g, c, k], diagonal [o, n, g, c, k]   (outside-in)
 * at -1: not stored. A group with unit X stores D only (T = K = 1). A tie stores X of its
 * roles, and D [g, n, o, t, c]. */
typedef struct ntk_place {
  int64_t x, xg, xn, xt;
  int64_t pixels, pixels_g, pixels_n;
  int64_t d, dg, dn, d_o, dt, dchunk; /* dchunk: 0, or the stride of chunks of c */
  int64_t j, jn, jo;
  int64_t n, o, role_x[2], role_pixels[2], role_d[2]; /* of a tie; see ntk_place_role */
} ntk_place;

/* Place of a group whose elements start at *at, which moves on (whole cache lines). */
ntk_place ntk_place_group(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                          int64_t o, int64_t *at);

/* The place of a tie's role, within that of the tie. */
ntk_place ntk_place_role(const ntk_group *tie, const ntk_place *place, int role);

/* Scratch elements of one thread for capturing a group; of them those of X. */
int64_t ntk_capture_scratch(const ntk_net *net, const ntk_group *group, ntk_order order);
int64_t ntk_capture_x_elements(const ntk_group *group);
/* Columns of X that products form J of: one-hot ones are not. */
static inline int64_t ntk_formed_K(const ntk_group *group) {
  return group->one_hot ? group->row_K : group->K;
}

/* Values and places of one chunk of samples, i0 .. i0 + n of the block. */
typedef struct ntk_capture {
  const ntk_net *net;
  const ntk_sweep *sweep;
  void *buffer;     /* of the block */
  int64_t i0, n, o; /* samples of the chunk in the block; outputs */
  void *scratch;    /* [threads][scratch_stride] */
  int64_t scratch_stride;
} ntk_capture;

/* Copies X of a group from the values of the last forward sweep. */
void ntk_capture_x_f32(const ntk_capture *c, const ntk_group *group,
                       const ntk_place *place);
void ntk_capture_x_f64(const ntk_capture *c, const ntk_group *group,
                       const ntk_place *place);

/* Takes one part of D from a cotangent: copied to its place, or (outside-in) contracted
 * over t with X into J; with several sections they add up, and J must be zero before. */
void ntk_capture_d_f32(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                       int section, int part, ntk_array cotangent);
void ntk_capture_d_f64(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                       int section, int part, ntk_array cotangent);

/* D that does not depend on the sample: E[o,p] at positions (t,s), sparse. */
typedef struct ntk_constant_entry {
  int o, p, t, s;
  double e;
} ntk_constant_entry;
typedef struct ntk_constant {
  int64_t count;
  ntk_constant_entry *entries; /* by o, then p; NULL: this group has none. Of a tie: D of
                                  role 1 (tie.h) */
} ntk_constant;

/* Vectors along k are packed in slices, channels of D in chunks. */
enum { NTK_SLICE = 512, NTK_CHUNK = 16 };

/* Elements of `count` packed vectors of length k, for every width of hardware vectors. */
static inline int64_t ntk_packed(int64_t count, int64_t k) {
  return (count + NTK_CHUNK - 1) / NTK_CHUNK * NTK_CHUNK * k;
}

/* The column side of a group, packed for the kernels (micro.h) strip by strip of samples,
 * so that what a strip's products need stays in cache. In a strip, for each g one after the
 * other: X (rows; pixels by part and class), then D or J as the order takes it. */
typedef struct ntk_strips {
  int64_t samples;      /* of a strip; the last one may have fewer */
  int64_t x, pixels, d; /* elements of one g in a whole strip */
  int64_t size;         /* elements of a whole strip */
} ntk_strips;
ntk_strips ntk_strips_of(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                         int64_t o);
/* Elements of all strips of n samples. */
int64_t ntk_strips_elements(const ntk_group *group, ntk_order order, ntk_form form,
                            int64_t n, int64_t o);

/* Contraction of one group over a pair of row blocks, the column side packed, added to acc
 * (f64; full [n1, o1, n2, o2], trace [n1, n2], diagonal [o1, n1, n2]). */
typedef struct ntk_pair {
  const ntk_group *group;
  ntk_order order;
  ntk_form form;
  const ntk_place *place1;
  const void *block1, *packed2;
  int64_t n1, o1, n2, o2;
  int64_t output1, output2; /* first outputs of the blocks */
  const ntk_constant *constant;
  bool mirror; /* same block: the half with row >= column suffices */
  double scale;
  double *acc;
  void *scratch;              /* of this thread */
  const ntk_between *between; /* for this thread to do; NULL: nothing */
} ntk_pair;
/* Rows or columns of a product that a sample's outputs are: of what only sums over them,
 * one.
 */
static inline int64_t ntk_form_rows(ntk_form form, int64_t o) {
  return form == NTK_FORM_FULL ? o : 1;
}
/* The rows of samples i0 .. i0 + n, on the caller's thread; no two rows' rounding depends
 * on which are taken together. n is at most ntk_contract_samples of the
 * rows that a sample has. */
void ntk_contract_f32(const ntk_pair *pair, int64_t i0, int64_t n);
void ntk_contract_f64(const ntk_pair *pair, int64_t i0, int64_t n);
int64_t ntk_contract_samples(int64_t rows);

/* Packs strip `number` of a group from a row block of n samples and o outputs. */
typedef struct ntk_packing {
  const ntk_group *group;
  ntk_order order;
  ntk_form form;
  const ntk_place *place;
  const void *block;
  void *packed;
  int64_t n, o;
} ntk_packing;
void ntk_pack_f32(const ntk_packing *packing, int64_t number);
void ntk_pack_f64(const ntk_packing *packing, int64_t number);

/* Scratch elements of one thread for blocks of up to n samples and o outputs. */
int64_t ntk_contract_scratch(const ntk_group *group, ntk_order order, ntk_form form,
                             int64_t n, int64_t o);

/* Channels whose F = A D stays in cache (left-to-right), in chunks of 16. */
int64_t ntk_chunks_at_once(const ntk_group *group, int64_t o);

enum {
  NTK_CHAIN_TERMS = 4096, /* no accumulator takes more before its sum goes to f64 */
  NTK_PAIR_SAMPLES = 4,   /* left-to-right goes over tiles of 4 x 4 samples */
  NTK_TASK_ROWS = 8       /* of a tile, at least, for which a task fetches its columns */
};

#endif
