/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_APPLY_H
#define NTK_JOB_APPLY_H

#include "job/plan.h"
#include <scantk/apply.h>

/* Frees what applying a plan has made; NULL-safe. Local. */
void ntk_apply_destroy(ntk_apply **apply);

/* Refuses a plan whose kernel cannot be applied. Local. */
NTK_CHECKED ntk_status ntk_apply_check(const ntk_plan *plan);
/* Numbers of a sample in a vector. Local. */
int64_t ntk_apply_width(const ntk_plan *plan);
/* Matrices that the kernel is: of a diagonal one for each output, else 1. Local. */
int64_t ntk_apply_matrices(const ntk_plan *plan);
/* ntk_plan_mean_diagonal of each matrix, [matrices]. Collective. */
NTK_CHECKED ntk_status ntk_plan_mean_diagonals(ntk_plan *plan, double *means);

#endif
