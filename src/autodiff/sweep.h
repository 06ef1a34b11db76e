/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_AUTODIFF_SWEEP_H
#define NTK_AUTODIFF_SWEEP_H

#include "autodiff/net.h"

/* The three sweeps over a block of samples (design section 3): forward values [n, ...],
 * backward cotangents [n, o, ...], tangents [d, n, ...]. All memory is planned and
 * allocated by create; running allocates nothing. Everything here is local. */
typedef struct ntk_sweep ntk_sweep;

/* Largest blocks of one sweep object; 0 where a sweep is not wanted. */
typedef struct ntk_sweep_limits {
  int64_t samples;
  int64_t cotangents; /* outputs of one backward sweep */
  int64_t directions; /* of one tangent sweep */
  bool own_seeds;     /* samples may have seeds of their own */
  bool sums_samples; /* with own_seeds: cotangents of parameters are summed over the samples
                        of a sweep, one after the other: [1, o, ...] */
} ntk_sweep_limits;

/* wanted [values]: values whose cotangents the caller asks for (data or parameters; NULL:
 * none). Only what lies between them and the outputs is computed. */
NTK_CHECKED ntk_status ntk_sweep_create(const ntk_net *net, ntk_sweep_limits limits,
                                        const bool *wanted, ntk_sweep **out);
void ntk_sweep_destroy(ntk_sweep **sweep);
/* Bytes that create would allocate. */
NTK_CHECKED ntk_status ntk_sweep_bytes(const ntk_net *net, ntk_sweep_limits limits,
                                       const bool *wanted, int64_t *bytes);

/* inputs[i]: [n, size of graph input i] in the net's type; borrowed until the next forward.
 * NTK_ERR_NONFINITE names the value and `first_sample` + its number where an output is not
 * finite, NTK_ERR_NUMERICAL a sample that an operator cannot take. */
NTK_CHECKED ntk_status ntk_sweep_forward(ntk_sweep *sweep, int64_t n,
                                         const void *const *inputs, int64_t first_sample);

/* The same of samples as data sets give them: [n, ntk_graph_inputs], the inputs of a sample
 * one after the other. */
NTK_CHECKED ntk_status ntk_sweep_forward_rows(ntk_sweep *sweep, int64_t n, const void *rows,
                                              int64_t first_sample);

/* Values after forward: element e of sample i at data + i * outer + e. */
ntk_array ntk_sweep_value(const ntk_sweep *sweep, int value);

/* Copies the network's outputs, concatenated: [n, O] as f64. */
void ntk_sweep_outputs(const ntk_sweep *sweep, double *out);

/* Does the cotangent of a wanted value depend on the sample? Known at create. */
bool ntk_sweep_is_per_sample(const ntk_sweep *sweep, int value);

/* Does a path lead from a wanted value to the outputs, so that backward delivers it? */
bool ntk_sweep_is_delivered(const ntk_sweep *sweep, int value);

/* Receives the finished cotangent of a wanted value: [n, o, ...], or [1, o, ...] with outer
 * stride 0 where it does not depend on the sample. Valid during the call. */
typedef void (*ntk_cotangent_fn)(void *user, int value, ntk_array cotangent);

/* Cotangents [o, O] of the outputs in the net's type: those of sample i at data + i * outer
 * elements; outer 0: the same for all (else own_seeds was asked for at create). */
typedef struct ntk_seeds {
  const void *data;
  int64_t outer;
} ntk_seeds;

/* Backward from the seeds through the values of the last forward. Each wanted value is
 * delivered once, unless no path leads from it to the outputs. constant_only: deliver only
 * cotangents that do not depend on the sample; needs no forward. */
void ntk_sweep_backward(ntk_sweep *sweep, int64_t o, ntk_seeds seeds, bool constant_only,
                        ntk_cotangent_fn fn, void *user);

/* Floating-point operations of a forward sweep of n samples and a backward one of o
 * cotangents (0: none): each node's own, forward, and for each operand whose cotangent is
 * computed as many again per cotangent, once for all samples where it does not depend on
 * them. A shift (third operand of a product) counts one an element. */
double ntk_sweep_flops(const ntk_sweep *sweep, int64_t n, int64_t o);
/* The same of a sweep yet to be made, as large as its limits. */
NTK_CHECKED ntk_status ntk_sweep_planned_flops(const ntk_net *net, ntk_sweep_limits limits,
                                               const bool *wanted, double *flops);

/* Tangents of the outputs, [d, n, O], for directions [d, P_l] of each parameter source
 * (directions[i] belongs to graph->parameters[i]; net's type), at the last forward. */
void ntk_sweep_tangent(ntk_sweep *sweep, int64_t d, const void *const *directions,
                       void *out);

#endif
