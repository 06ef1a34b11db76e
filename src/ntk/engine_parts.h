/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_ENGINE_PARTS_H
#define NTK_NTK_ENGINE_PARTS_H

#include "base/context.h"
#include "ntk/engine.h"
#include "ntk/turns.h"

/* Private to src/ntk: the engine and its NTK-vector products. */
struct ntk_engine {
  ntk_engine_spec spec;
  ntk_sweep *sweep;
  int swept_pass;  /* whose groups it goes back to */
  void *inputs;    /* [sweep_samples, input size] */
  double *outputs; /* [sweep_samples, O] */
  void *seeds;     /* [sweep_samples, outputs, O] where samples have their own, else [0] */
  void *scratch;   /* [threads][scratch_stride] */
  int64_t scratch_stride;
  bool needs_zero; /* a part of D or J may be left unwritten, or is added to */
  const ntk_split *split;
  ntk_place *place1;      /* [pieces] in their shares, of the row block in hand */
  int64_t *packed_at;     /* [pieces] of my share, elements; of the packed column block */
  double *group_seconds;  /* [groups], of this rank */
  double *thread_seconds; /* [threads][seconds_stride] not yet among them */
  int64_t seconds_stride;
  ntk_turns turns;        /* of the threads at a tile */
  double forming_seconds; /* of J, while sweeping; part of group_seconds */
  double swept_flops;
  /* NTK-vector products */
  ntk_sweep *rows;     /* tangents at x1 */
  int64_t directions;  /* of one batch, a multiple of the outputs of a block */
  char **jacobian;     /* [parameters][directions, P_l] */
  char *zeros;         /* [directions, largest P_l] where there are several colours */
  const void **masked; /* [parameters] directions of one colour: J, or zeros */
  void *tangents;      /* [directions, sweep_samples, O] */
};

/* Bytes of the constant workspace for directions and their sweeps. */
#define NTK_WORKSPACE_BYTES ((int64_t)256 << 20)
/* Bytes of the values and cotangents of the samples swept at once: enough samples for what
 * a layer does once (packing its weights), few enough for its arrays to meet a large cache.
 */
#define NTK_SWEEP_BYTES ((int64_t)128 << 20)

/* Elements of the seeds of n samples and o outputs: none where all samples share them. */
static inline int64_t ntk_seed_elements(const ntk_network *network, int64_t n, int64_t o) {
  return network->seeds ? 0 : n * o * ntk_graph_outputs(network->graph);
}

/* What is in hand is to be dropped. */
static inline bool ntk_engine_gives_up(const ntk_engine *engine) {
  return engine->spec.stop && *engine->spec.stop == NTK_STOP_DROP;
}

NTK_CHECKED ntk_status ntk_ntvp_create(ntk_engine *engine);
/* Bytes that create would allocate: one sample's directions may exceed the workspace. */
NTK_CHECKED ntk_status ntk_ntvp_bytes(const ntk_engine_spec *spec, int64_t *bytes);
void ntk_ntvp_destroy(ntk_engine *engine);
ntk_status ntk_ntvp_contract(ntk_engine *engine, const ntk_tile *tile, const void *row,
                             const void *column, double *acc);
/* Samples of one side whose directions and tangents fit the constant workspace. */
int64_t ntk_ntvp_batch(const ntk_network *network, int64_t block, int64_t outputs_block);

#endif
