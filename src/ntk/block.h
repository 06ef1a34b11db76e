/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_BLOCK_H
#define NTK_NTK_BLOCK_H

#include "autodiff/sweep.h"
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
 *   X [g, n, t, k]
 *   D full [g, n, o, t, c], trace [g, n, t, o, c], diagonal [g, o, n, t, c]
 *   J full and trace [n, o, g, c, k], diagonal [o, n, g, c, k]   (outside-in)
 * at -1: not stored. A group with unit X stores D only (T = K = 1). */
typedef struct ntk_place {
  int64_t x, xg, xn, xt;
  int64_t d, dg, dn, d_o, dt;
  int64_t j, jn, jo;
} ntk_place;

/* Place of a group whose elements start at *at, which moves on (whole cache lines). */
ntk_place ntk_place_group(const ntk_group *group, ntk_order order, ntk_form form, int64_t n,
                          int64_t o, int64_t *at);

/* Scratch elements of one thread for capturing a group. */
int64_t ntk_capture_scratch(const ntk_net *net, const ntk_group *group);

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
  ntk_constant_entry *entries; /* by o, then p; NULL: this group has none */
} ntk_constant;

/* Contraction of one group over a pair of row blocks, added to acc (f64; full [n1, o1, n2,
 * o2], trace [n1, n2], diagonal [o1, n1, n2]). */
typedef struct ntk_pair {
  const ntk_group *group;
  ntk_order order;
  ntk_form form;
  const ntk_place *place1, *place2;
  const void *block1, *block2; /* buffers */
  int64_t n1, o1, n2, o2;
  int64_t output1, output2; /* first outputs of the blocks */
  const ntk_constant *constant;
  bool mirror; /* same block: the half with row >= column suffices */
  double scale;
  double *acc;
  void *scratch; /* [threads][scratch_stride] */
  int64_t scratch_stride;
} ntk_pair;
void ntk_contract_f32(const ntk_pair *pair);
void ntk_contract_f64(const ntk_pair *pair);

/* Scratch elements of one thread for blocks of n samples and o outputs. */
int64_t ntk_contract_scratch(const ntk_group *group, ntk_order order, ntk_form form,
                             int64_t n, int64_t o);

/* Samples whose rows of E fill a block that stays in cache; at least one. */
int64_t ntk_window_samples(int64_t rows_per_sample, int64_t n);

/* No accumulator takes more terms than this before its sum goes to f64. */
enum { NTK_CHAIN_TERMS = 4096 };
/* Rows (and columns) of a block of E that stays in cache. */
enum { NTK_E_ROWS = 384 };

#endif
