/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_ENGINE_H
#define NTK_NTK_ENGINE_H

#include "base/meanwhile.h"
#include "ntk/split.h"

/* The engine: sweeps row blocks into factors and contracts pairs of them, for one network,
 * type, algorithm and set of orders. Everything here is local: no MPI. */
typedef struct ntk_engine ntk_engine;

typedef enum ntk_algorithm {
  NTK_ALGORITHM_JACOBIAN,
  NTK_ALGORITHM_NTVP,
  NTK_ALGORITHM_STRUCTURED
} ntk_algorithm;
const char *ntk_algorithm_name(ntk_algorithm algorithm);

/* Samples first .. first + n of a side as reals of dtype, [n, size of the graph's input].
 */
typedef struct ntk_samples {
  void *self;
  int64_t base; /* number of sample 0, for messages */
  ntk_status (*read)(void *self, int64_t first, int64_t n, ntk_dtype dtype, void *out);
} ntk_samples;

/* The network as the planner sees it: type, groups, and the D that no sample changes. */
typedef struct ntk_network {
  const ntk_graph *graph; /* borrowed, and so is the net of it */
  const ntk_net *net;
  ntk_groups *groups;
  ntk_constant *constants; /* [groups] */
  bool has_constants;      /* they are looked for */
  ntk_split whole;         /* all groups in one share */
  void *seeds;     /* [outputs, O of the graph], net's type; NULL: of each sample its own */
  int64_t outputs; /* cotangents */
} ntk_network;
/* form: of the kernel, by which tied tensors get ties or dense Jacobians. seeds: [outputs,
 * O] cotangents as f64, copied; NULL: samples have their own, so that no group is constant
 * and engines read them. */
NTK_CHECKED ntk_status ntk_network_create(const ntk_net *net, bool jacobian, ntk_form form,
                                          int64_t outputs, const double *seeds,
                                          ntk_network *out);
/* Finds the constants anew, after the net was updated; engines stay good. */
NTK_CHECKED ntk_status ntk_network_update(ntk_network *network);
void ntk_network_destroy(ntk_network *network);

typedef struct ntk_engine_spec {
  const ntk_network *network; /* borrowed */
  ntk_algorithm algorithm;
  ntk_form form;
  double scale;                 /* of every entry (trace: 1/O for the mean) */
  int64_t colour_stride;        /* doubles from a colour's part of acc to the next's */
  int64_t block, outputs_block; /* B, Q: the largest row block */
  int64_t sweep_samples;        /* samples of one sweep within a block */
  const ntk_order *orders;      /* [groups]; borrowed */
  const ntk_split *split;       /* of the groups over the depth of the grid; borrowed; NULL:
                                   one share */
  int depth;                    /* the share that this engine contracts */
  int pass;                     /* of the split, in hand: what is swept and contracted */
  ntk_samples sides[2];
  /* Receives the network's outputs [n, O] of samples swept on a side; NULL: not wanted. */
  ntk_status (*outputs)(void *user, int side, int64_t first, int64_t n,
                        const double *values);
  /* Cotangents [n, outputs, O] in the net's type of samples first .. first + n of a side;
   * called only where the network has none. */
  ntk_status (*seeds)(void *user, int side, int64_t first, int64_t n, void *out);
  void *user;
  /* Sweeps and contractions give up, their results incomplete, once this is NTK_STOP_DROP;
   * NULL: never. */
  const volatile int *stop;
  const ntk_between *between; /* in sweeps and contractions; NULL: nothing */
} ntk_engine_spec;

NTK_CHECKED ntk_status ntk_engine_create(const ntk_engine_spec *spec, ntk_engine **out);
void ntk_engine_destroy(ntk_engine **engine);
/* Bytes that an engine yet to be made takes (sweeps, scratch); of the factors of a row
 * block of n samples and o outputs in the pass in hand, all shares or that of depth d; of a
 * share, packed; of a piece in a share. */
NTK_CHECKED ntk_status ntk_engine_bytes(const ntk_engine_spec *spec, int64_t *bytes);
int64_t ntk_block_bytes(const ntk_engine_spec *spec, int64_t n, int64_t o);
int64_t ntk_share_bytes(const ntk_engine_spec *spec, int d, int64_t n, int64_t o);
int64_t ntk_packed_bytes(const ntk_engine_spec *spec, int d, int64_t n, int64_t o);
int64_t ntk_piece_bytes(const ntk_engine_spec *spec, int piece, int64_t n, int64_t o);
/* Seconds spent so far in contracting each group [groups], the forming of J included; valid
 * while the engine lives. */
const double *ntk_engine_group_seconds(ntk_engine *engine);
/* Those of forming J, which happens inside sweeps. */
double ntk_engine_forming_seconds(const ntk_engine *engine);

/* Operations of sweeping a sample for Q outputs, by an engine yet to be made, back to the
 * groups of the pass in hand, and of all sweeps so far. The vectors of NTK-vector products
 * are contraction. */
NTK_CHECKED ntk_status ntk_sample_sweep_flops(const ntk_engine_spec *spec, double *flops);
double ntk_engine_swept_flops(const ntk_engine *engine);

/* The outputs of samples first .. first + n of a side, handed over as a sweep of them does,
 * bit for bit where first begins a sample block. */
NTK_CHECKED ntk_status ntk_engine_forward(ntk_engine *engine, int side, int64_t first,
                                          int64_t n);

/* The calls of a worker (job/job.h); self is the engine. */
void ntk_engine_begin_pass(void *self, int pass);
int64_t ntk_engine_block_bytes(void *self, int d, int64_t n, int64_t o);
ntk_status ntk_engine_sweep(void *self, int side, int64_t first, int64_t n, int64_t output,
                            int64_t o, void *const *shares);
int64_t ntk_engine_packed_bytes(void *self, int d, int64_t n, int64_t o);
void ntk_engine_pack(void *self, int64_t n, int64_t o, const void *column, void *packed);
ntk_status ntk_engine_contract(void *self, const ntk_tile *tile, const void *row,
                               const void *packed, bool mirror, double *acc,
                               ntk_meanwhile meanwhile);

/* Number of samples to be swept at once: half of the block as often as it takes for a
 * constant workspace. */
NTK_CHECKED ntk_status ntk_engine_sweep_samples(const ntk_network *network,
                                                ntk_algorithm algorithm, int64_t block,
                                                int64_t outputs_block, int64_t *samples);

#endif
