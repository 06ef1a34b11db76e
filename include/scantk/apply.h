/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_APPLY_H
#define SCANTK_APPLY_H

#include <scantk/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The kernel of a plan as an operator, without forming it. J is the Jacobian of what the
 * kernel is of: the selected outputs, the user's cotangents C f, or their sum / sqrt(O)
 * (pseudo), O' of them for a sample; J1 of the rows, J2 of the columns, by the plan's
 * parameters. Of a trace and a diagonal, which are made of the kernels of each output,
 * J1_o J2_o^T, only NTK_THETA is defined: a trace acts on vectors of one number a sample
 * (O' = 1), a diagonal on each output's numbers apart. */
typedef enum ntk_operation {
  NTK_J,    /* J1 v: parameters -> outputs of the rows */
  NTK_JT,   /* J2^T u: outputs of the columns -> parameters */
  NTK_THETA /* Theta u = J1 (J2^T u): outputs of the columns -> outputs of the rows; trace:
               mean (or sum) over o of J1_o (J2_o^T u); diagonal: J1_o (J2_o^T u_o) */
} ntk_operation;

/* How vectors are spread: each rank has a contiguous share, balanced to one, of the rows'
 * samples, of the columns' samples, and of the parameters, flattened and one after the
 * other in the model's order. */
typedef struct ntk_shares {
  int64_t outputs; /* O' of a sample; of a trace 1 */
  int64_t row_first, rows;
  int64_t column_first, columns;
  int64_t parameter_first, parameters;
  int64_t all_parameters; /* P */
} ntk_shares;
/* Of this rank. Local. */
NTK_API void ntk_plan_get_shares(const ntk_plan *plan, ntk_shares *shares);

/* Purpose: apply it to `vectors` vectors at once. Collective; may be repeated.
 * in, out  this rank's shares in f64, [vectors, samples, O'] or [vectors, parameters]; the
 *          caller's; they do not overlap.
 * The sweeps are in the plan's dtype. Sums over samples and ranks are in f64, in an order
 * that the ranks alone decide.
 * Memory: a rank has, for as many vectors as it takes at a time, P reals in f64 and P in
 * the plan's dtype beside its shares; both stay until the plan ends.
 * Cost: for each sample of a side and vector, a forward pass for all vectors together and a
 * backward one (JT) or a tangent (J), about two forward passes each; P numbers by messages.
 * A vector of a trace or a diagonal takes as much as O vectors.
 * Errors: NTK_ERR_ARGUMENT (J or JT of a trace or a diagonal),
 * NTK_ERR_UNSUPPORTED (an output that no sample changes), NTK_ERR_MEMORY, NTK_ERR_FILE
 * (samples), NTK_ERR_NONFINITE. */
NTK_API NTK_CHECKED ntk_status ntk_plan_apply(ntk_plan *plan, ntk_operation operation,
                                              int64_t vectors, const double *in,
                                              double *out);

/* Purpose: the network's selected outputs on this rank's share of the rows: [rows,
 * outputs], one column for each that is selected. Collective. Errors as above. */
NTK_API NTK_CHECKED ntk_status ntk_plan_row_outputs(ntk_plan *plan, double *out);

/* Purpose: the mean of the diagonal of the kernel of the rows with themselves, the same on
 * all ranks. Collective. Errors as above. Cost: the sweeps of a kernel, and of its
 * contraction what a few samples at a time take with themselves. */
NTK_API NTK_CHECKED ntk_status ntk_plan_mean_diagonal(ntk_plan *plan, double *mean);

#ifdef __cplusplus
}
#endif
#endif
