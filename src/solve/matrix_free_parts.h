/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_MATRIX_FREE_PARTS_H
#define NTK_SOLVE_MATRIX_FREE_PARTS_H

#include "base/text.h"
#include "job/apply.h"
#include "job/plan.h"
#include "solve/block_cg.h"
#include <scantk/matrix_free.h>

/* The steps of a matrix-free solve. Private to src/solve. Vectors are this rank's shares,
 * as in scantk/apply.h. */

/* Coefficients and predictions are [ridges, rows, outputs]. Systems that are solved side by
 * side are one for each ridge, or one for each ridge and output: where the kernel stands
 * for K x I_O (trace, pseudo), or has a matrix for each output (diagonal). */
typedef struct ntk_systems {
  int64_t ridges, rows, outputs; /* rows of this rank */
  bool apart;                    /* by outputs */
  int64_t matrices;              /* of the kernel: 1, of a diagonal one for each output */
} ntk_systems;
static inline int64_t ntk_systems_count(const ntk_systems *s) {
  return s->apart ? s->ridges * s->outputs : s->ridges;
}
static inline int64_t ntk_systems_unknowns(const ntk_systems *s) {
  return s->apart ? s->rows : s->rows * s->outputs;
}
static inline int64_t ntk_systems_elements(const ntk_systems *s) {
  return s->ridges * s->rows * s->outputs;
}
/* Systems of a ridge that have one matrix, and the ridge and matrix of a system, [ridges,
 * matrices]. */
static inline int64_t ntk_systems_alike(const ntk_systems *s) {
  return ntk_systems_count(s) / s->ridges / s->matrices;
}
static inline int64_t ntk_systems_matrix(const ntk_systems *s, int64_t system) {
  return system / ntk_systems_alike(s);
}
/* From [ridges, rows, outputs] to [systems, unknowns], and back. Local. */
void ntk_systems_split(const ntk_systems *s, const double *from, double *to);
void ntk_systems_join(const ntk_systems *s, const double *from, double *to);

/* Options of the plan from those of the command: --dtype, --reduce, --select-outputs,
 * --memory. Local. NTK_ERR_ARGUMENT. */
NTK_CHECKED ntk_status ntk_matrix_free_plan_options(const ntk_options *options,
                                                    ntk_text *text);
/* JSON of /provenance for a file of a plan's samples, and /identity (NULL: not wanted), on
 * rank 0. Collective. */
NTK_CHECKED ntk_status ntk_matrix_free_provenance(ntk_plan *plan, const char *format,
                                                  const char *command_line, ntk_text *text,
                                                  ntk_text *identity);

/* ---- preconditioner (matrix_free_nystrom.c) -------------------------------------------
 */

/* Theta ~ F F^T, F [unknowns of a system, m]: with the kernel's columns C of some samples
 * and their own kernel W = L L^T, F = C L^-T. Its inverse with a ridge is (I - F (ridge I +
 * F^T F)^-1 F^T) / ridge. One for each matrix of the kernel. */
typedef struct ntk_nystrom {
  ntk_context *context;
  int64_t matrices;
  int64_t rows, m; /* rows of F of this rank */
  int64_t per;     /* of them, of a sample */
  int64_t ridges;
  double *f;       /* [matrices][rows, m] */
  double *factors; /* [ridges, matrices][m, m] Cholesky of ridge I + F^T F */
  double *ridge;   /* [ridges, matrices] */
  double *small;   /* [systems, m] */
  double *room;
} ntk_nystrom;

/* Purpose: make one from `landmarks` samples of plan->rows, drawn by seed. Collective.
 * options  text of a plan as that of `plan`
 * ridge    [ridges, matrices]; one below 1e-10 of `diagonal` [matrices] is taken to be
 * that. Errors: those of planning and of a kernel; NTK_ERR_NUMERICAL. */
NTK_CHECKED ntk_status ntk_nystrom_create(ntk_plan *plan, const char *options,
                                          int64_t landmarks, int64_t seed, int64_t ridges,
                                          const double *ridge, const double *diagonal,
                                          int64_t systems, ntk_nystrom **out);
void ntk_nystrom_destroy(ntk_nystrom **nystrom);
/* out[k] of the ridge and matrix of number which[k]; [count, rows]. Collective. */
NTK_CHECKED ntk_status ntk_nystrom_apply(ntk_nystrom *nystrom, int64_t count,
                                         const int64_t *which, const double *in,
                                         double *out);

/* ---- labels (matrix_free_targets.c) ---------------------------------------------------
 */

typedef struct ntk_targets {
  int64_t rows, outputs;
  double *values;   /* [rows, outputs]; NULL: there are no labels */
  int64_t *classes; /* [rows] number among the outputs; NULL: targets are real */
} ntk_targets;

/* Purpose: the targets of this rank's share of the samples of `data`, from the file `path`
 * (FILE[:/path], default /labels) or, where that is NULL, from the data: class numbers,
 * one-hot minus 1/O (with one output: as they are), or real numbers [N, O]. Collective.
 * NTK_ERR_SHAPE (a class that there is no output for, too), NTK_ERR_FILE. */
NTK_CHECKED ntk_status ntk_targets_read(ntk_context *context, const ntk_plan *plan,
                                        ntk_data *data, const char *path, ntk_targets *out);
void ntk_targets_clear(ntk_targets *targets); /* of {0} too */

/* Purpose: the outputs that stand in the file `path` (FILE[:/path], default /outputs, as
 * `forward` writes them) of this rank's share of the samples of `data`, [rows, outputs].
 * Collective. NTK_ERR_SHAPE, NTK_ERR_FILE, NTK_ERR_NONFINITE. */
NTK_CHECKED ntk_status ntk_center_read(ntk_context *context, ntk_data *data,
                                       const char *path, int64_t outputs, double *out);

/* Reports MSE and, of classes, accuracy of predictions [ridges, rows, outputs]. `name`: of
 * the samples. Collective. */
NTK_CHECKED ntk_status ntk_targets_score(ntk_context *context, const ntk_targets *targets,
                                         const char *name, int64_t ridges,
                                         const double *ridge, const double *predictions);

#endif
