/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_SOLVE_H
#define NTK_SOLVE_SOLVE_H

#include "solve/spectrum_parts.h"
#include <scantk/options.h>
#include <scantk/solve.h>

/* One run of ntk_solve_to_file. What is of the size [N, O] stands on all ranks; the kernel
 * is distributed. Everything here is collective over the context unless marked local. */

typedef enum ntk_solver {
  NTK_SOLVER_CHOLESKY,
  NTK_SOLVER_EIGEN,
  NTK_SOLVER_CG,
  NTK_SOLVERS
} ntk_solver;
const char *ntk_solver_name(ntk_solver solver); /* as --method has it */

typedef enum ntk_solve_phase {
  NTK_SOLVE_READ,
  NTK_SOLVE_FACTOR,
  NTK_SOLVE_SOLVE,
  NTK_SOLVE_TEST,
  NTK_SOLVE_WRITE,
  NTK_SOLVE_PHASES
} ntk_solve_phase;

/* Samples that are fitted, or predicted. */
typedef struct ntk_side {
  int64_t samples;
  double *outputs;  /* [N, O] of the network at the start, or zeros */
  double *targets;  /* [N, O]; NULL: not known */
  int64_t *classes; /* [N] outputs of the classes, -1: none; NULL: targets are no classes */
} ntk_side;

typedef struct ntk_solve {
  ntk_context *context;
  ntk_options *options;
  ntk_kernel_file *kernel, *test; /* test NULL: none */
  const ntk_kernel_facts *facts;  /* of the kernel */
  char *identity, *test_identity; /* texts of the files */
  const char *group;              /* of whose kernels; NULL: the whole */
  bool absolute, timed;           /* --ridge-scale, --time */
  int ridges, times, results;     /* R, T (1 without --time), R T */
  double *ridge, *time;           /* [R], [T] as given */
  ntk_solver solver;
  ntk_eigensolver eigensolver;
  int64_t N, O;
  int64_t planes, n, columns; /* systems, their size, right-hand sides of each */
  ntk_side sides[2];          /* training, test */
  ntk_blacs grid;
  int nb;
  int64_t cap; /* of memory */
  const char *cap_bound_by;
  double *alpha, *product;   /* [planes, n, results * columns]: solutions, K times these */
  double *tested;            /* [planes, n of the test kernel, results * columns] */
  double *mean;              /* [planes] of the diagonal */
  double *residual, *scaled; /* [results] the worst of all planes */
  double seconds[NTK_SOLVE_PHASES], flops[NTK_SOLVE_PHASES];
} ntk_solve;

/* Where sample n and output o of a result stand in alpha, product or tested; n_all: rows of
 * a plane there. Local. */
int64_t ntk_solve_place(const ntk_solve *s, int64_t n_all, int result, int64_t sample,
                        int64_t output);
/* The ridge that is added to a plane's diagonal. Local. */
double ntk_solve_ridge(const ntk_solve *s, int64_t plane, int ridge);
/* Adds the time since `start` to a phase and returns now. Local. */
double ntk_solve_clock(ntk_solve *s, ntk_solve_phase phase, double start);

/* ---- labels.c, check.c ----------------------------------------------------------------
 */

/* Reads outputs and targets of a side (0 training, 1 test), by its kernel file and options.
 */
NTK_CHECKED ntk_status ntk_side_read(ntk_solve *s, int side);
void ntk_side_clear(ntk_side *side);

/* The value of a line "name: value" of an /identity, its length; NULL: no such line. Local.
 */
const char *ntk_solve_identity(const char *text, const char *name, int *length);
/* Is the kernel one to solve with? Is the test kernel of the same network and of these
 * columns? Says how many samples are in both. */
NTK_CHECKED ntk_status ntk_solve_check_kernel(ntk_solve *s);
NTK_CHECKED ntk_status ntk_solve_check_test(ntk_solve *s);

/* ---- memory.c -------------------------------------------------------------------------
 */

/* Finds the cap and chooses the solver: NTK_ERR_MEMORY where it does not fit, with the
 * number of ranks that would do. */
NTK_CHECKED ntk_status ntk_solve_choose(ntk_solve *s);

/* ---- system.c -------------------------------------------------------------------------
 */

/* One plane's system. */
typedef struct ntk_system {
  ntk_solve *solve;
  int64_t plane;
  ntk_matrix kernel; /* [n, n]; the upper triangle and `diagonal` stay the kernel's */
  ntk_matrix right;  /* [n, columns] y - f0 */
  double *diagonal;  /* [n] of the kernel */
  double norm;       /* of the kernel, 1-norm */
  double right_norm; /* of `right`, in the sense of Frobenius */
} ntk_system;
NTK_CHECKED ntk_status ntk_system_create(ntk_solve *s, int64_t plane, ntk_system *out);
void ntk_system_clear(ntk_system *system);
/* Reads the kernel again, after the matrix was used for something else. */
NTK_CHECKED ntk_status ntk_system_reread(ntk_system *system);
/* P = K X, of the upper triangle and the diagonal, both [n, any]: columns first .. first +
 * count of them. Local calls of the grid. */
void ntk_system_multiply(ntk_system *system, const ntk_matrix *x, int first, int count,
                         ntk_matrix *p);
/* A matrix [n, columns] of zeros. */
NTK_CHECKED ntk_status ntk_system_vectors(const ntk_system *system, int64_t columns,
                                          ntk_matrix *out);

/* How far X is from (K + ridge) X = G: its norm by that of y - f0, and LAPACK's measure. */
typedef struct ntk_residual {
  double relative, scaled;
} ntk_residual;
/* P = K X is known; R (may be NULL) becomes G - P - ridge X. Columns first .. first + count
 * are looked at. */
NTK_CHECKED ntk_status ntk_system_residual(const ntk_system *system, double ridge,
                                           const ntk_matrix *x, const ntk_matrix *p,
                                           const ntk_matrix *g, int first, int count,
                                           ntk_matrix *r, ntk_residual *out);
/* Results first ..: X, P = K X and G, [n, columns] of each, one after the other. */
NTK_CHECKED ntk_status ntk_system_keep(ntk_system *system, int first, const ntk_matrix *x,
                                       const ntk_matrix *p, const ntk_matrix *g);
/* Fails: not positive definite, for `why`, with what ridge it would be (0: not known). */
ntk_status ntk_system_fail(const ntk_system *system, int ridge, const char *why,
                           double enough);

/* ---- cholesky.c, eigen.c, cg.c: all results of a plane --------------------------------
 */

NTK_CHECKED ntk_status ntk_solve_cholesky(ntk_system *system);
NTK_CHECKED ntk_status ntk_solve_eigen(ntk_system *system);
NTK_CHECKED ntk_status ntk_solve_cg(ntk_system *system);

/* ---- predict.c, report.c --------------------------------------------------------------
 */

/* The test kernel times alpha into s->tested, tile by tile. */
NTK_CHECKED ntk_status ntk_solve_predict(ntk_solve *s);

/* Prediction of a result: f0 + K alpha. Local. */
double ntk_solve_prediction(const ntk_solve *s, int side, int result, int64_t sample,
                            int64_t output);
/* Mean square error and accuracy of each result of a side, [results]; NAN where not known.
 * Local. */
void ntk_solve_errors(const ntk_solve *s, int side, double *mse, double *accuracy);
/* Prints the table of results, and that of the phases. */
NTK_CHECKED ntk_status ntk_solve_report(ntk_solve *s);
/* Writes the file, on rank 0. */
NTK_CHECKED ntk_status ntk_solve_write(ntk_solve *s, const char *path,
                                       const char *command_line);
int64_t ntk_solve_file_bytes(const ntk_solve *s); /* local */

#endif
