/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_PROJECT_H
#define NTK_NTK_PROJECT_H

#include "autodiff/sweep.h"
#include "ntk/groups.h"
#include "ntk/sketch.h"

/* Random projections of per-sample Jacobians, phi[n,o,:] = R J[n,o,:] / sqrt(dim), with R
 * of ntk/sketch.h over all parameters, one tensor after the other in the graph's order.
 * No Jacobian of all parameters is formed: a tensor is projected when its cotangent is
 * ready. Everything here is local: no MPI.
 *
 * A tensor goes one of two ways, whichever takes fewer flops:
 *   J       its Jacobian [n o, P_l] by vjp, then a product with R: 2 n o P_l dim
 *   X first Y[n,t,c,:] = sum over k of X[n,t,k] R[:,(k,c)], then sum over t and c of
 *           D[n,o,t,c] Y[n,t,c,:]: 2 n t P_l dim, o / t times as fast, and no Jacobian
 *           A table that is looked up: the rows that are, 2 n o t C dim.
 * R is made in panels of few parameters and 256 rows that stay in cache, once for all
 * samples of a block. No element's rounding depends on the other samples of a projection,
 * as long as the sweep's does not; sums over parameters are in f64, f32 chains have at most
 * 256 terms, or 512 of Y. */

/* How one tensor goes, or one use of it. */
typedef struct ntk_path {
  int root;          /* the value whose cotangent is waited for */
  int64_t first;     /* number of its tensor's first element among all parameters */
  int64_t size;      /* elements of the tensor */
  bool takes_x;      /* X first: */
  ntk_group use;     /* of one section with one part of X and one of D */
  const double *map; /* [g,k,c] element of the tensor; NULL: g wg + k wk + c wc */
  int64_t wg, wk, wc;
} ntk_path;

/* The paths of all tensors, found once. */
typedef struct ntk_paths {
  const ntk_net *net; /* borrowed */
  int count;
  ntk_path *items;
  int map_count;
  double **maps;
  bool *wanted;       /* [values] cotangents that the sweeps must deliver */
  int64_t parameters; /* P */
  int64_t largest;    /* elements of the largest tensor that goes by J */
  double flops;       /* of a sample and all outputs, for each of dim */
  double dense_flops; /* the same of J alone: 2 O P */
} ntk_paths;
/* outputs: of a sample, by which the ways are chosen. */
NTK_CHECKED ntk_status ntk_paths_find(const ntk_net *net, int64_t outputs, ntk_paths *out);
void ntk_paths_clear(ntk_paths *paths);

typedef struct ntk_projector_spec {
  const ntk_paths *paths; /* borrowed */
  ntk_sketch sketch;
  int64_t samples, outputs; /* the most of a projection */
  bool own_seeds;           /* samples have cotangents of their own */
  const volatile int *stop; /* an ntk_stop, borrowed; NULL: none. Once it is
                               NTK_STOP_DROP, a projection ends early, of no use */
} ntk_projector_spec;
typedef struct ntk_projector ntk_projector;
NTK_CHECKED ntk_status ntk_projector_create(const ntk_projector_spec *spec,
                                            ntk_projector **out);
void ntk_projector_destroy(ntk_projector **projector);
/* Bytes that create would allocate. */
NTK_CHECKED ntk_status ntk_projector_bytes(const ntk_projector_spec *spec, int64_t *bytes);

/* Forward pass of n samples, [n, ntk_graph_inputs] in the net's type, and their outputs as
 * f64 [n, O of the graph]. Errors: those of ntk_sweep_forward. */
NTK_CHECKED ntk_status ntk_projector_forward(ntk_projector *projector, int64_t n,
                                             const void *rows, int64_t first_sample,
                                             double *outputs);
/* phi [n, o, dim] of the samples of the last forward pass, for o cotangents. */
void ntk_projector_project(ntk_projector *projector, int64_t o, ntk_seeds seeds,
                           double *phi);
/* Seconds spent so far in projecting, the sweeps not counted. */
double ntk_projector_seconds(const ntk_projector *projector);

#endif
