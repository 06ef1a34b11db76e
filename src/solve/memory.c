/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/memory_limit.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Decompositions serve all ridges: worth it from so many on (measured, n = 2,000: pdsyevd
 * takes 14 times as long as a factorization, and more where memory is slow). */
enum { MANY_RIDGES = 20 };
/* Of the libraries, for messages and panels, beside what they had at the start. */
static const double library_bytes = 48.0 * 1048576;
/* Matrices of the kernel's size: itself; with eigenvectors, and the work space of pdsyevd
 * or ELPA. */
static const double matrices[NTK_SOLVERS] = {1, 4, 1};

static double whole_bytes(const ntk_solve *s) {
  const double results = (double)(s->planes * s->results * s->columns);
  const double train = (double)s->n,
               tests = (double)(s->test ? s->sides[1].samples * s->facts->per_sample : 0);
  return 8 * (results * (2 * train + 2 * tests) + 8 * train);
}

/* Of the kernel what is under way; of the test kernel a tile. */
static double tile_bytes(const ntk_solve *s, int ranks) {
  const double side = (double)(s->facts->block * s->facts->part);
  return (double)ntk_matrix_read_bytes(s->facts, ranks) + (s->test ? 8 * side * side : 0);
}

/* Bytes of a rank of so many. */
static double needed(const ntk_solve *s, ntk_solver solver, int ranks) {
  const int64_t wide = s->results * s->columns;
  const double square = (double)ntk_matrix_part_bytes(s->n, s->n, s->nb, ranks);
  const int kept = solver == NTK_SOLVER_CG ? 10 : 5;
  const double vectors = kept * (double)ntk_matrix_part_bytes(s->n, wide, s->nb, ranks);
  const double panels = 4 * (double)ntk_matrix_part_bytes(s->n, s->nb, s->nb, ranks);
  return matrices[solver] * square + vectors + whole_bytes(s) + tile_bytes(s, ranks) +
         library_bytes + panels;
}

/* All that a rank takes now and will. */
static double total_bytes(const ntk_solve *s, ntk_solver solver, int ranks) {
  return needed(s, solver, ranks) + (double)ntk_memory_used_total() +
         (double)s->context->resident_bytes;
}

static bool fits(const ntk_solve *s, ntk_solver solver, int ranks) {
  return total_bytes(s, solver, ranks) <= (double)s->cap;
}

static ntk_status find_cap(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  int64_t cap = ntk_memory_default_cap(s->context->sharers, &s->cap_bound_by);
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &cap, 1, MPI_INT64_T, MPI_MIN, s->context->comm));
  if (ntk_options_given(s->options, "memory")) {
    cap = ntk_options_bytes(s->options, "memory");
    s->cap_bound_by = "--memory";
  }
  NTK_REQUIRE(cap > 0, NTK_ERR_ARGUMENT, "--memory: nothing is too little");
  (void)ntk_memory_set_cap(ntk_memory_set_cap(0) + cap);
  s->cap = cap;
done:
  return status;
}

/* How many ranks with this cap would do; 0: it does not help. */
static int enough_ranks(const ntk_solve *s) {
  int ranks = s->context->size;
  while (ranks < INT_MAX / 4 && !fits(s, s->solver, ranks))
    ranks += ranks / 16 + 1;
  return ranks < INT_MAX / 4 ? ranks : 0;
}

static ntk_status check_cap(const ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  int outcome = fits(s, s->solver, s->context->size);
  char ranks[48] = "";
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &outcome, 1, MPI_INT, MPI_MIN, s->context->comm));
  if (outcome)
    return NTK_SUCCESS;
  const int more = enough_ranks(s);
  const double bytes = total_bytes(s, s->solver, s->context->size) / 1048576;
  if (more > 0)
    (void)snprintf(ranks, sizeof ranks, "%d ranks would do, or ", more);
  status = ntk_fail(NTK_ERR_MEMORY,
                    "%s of %" PRId64 " x %" PRId64 " takes %.0fM of each of %d ranks, the "
                    "cap is %" PRId64 "M (%s); %s--memory %.0fM",
                    ntk_solver_name(s->solver), s->n, s->n, ceil(bytes), s->context->size,
                    s->cap >> 20, s->cap_bound_by, ranks, ceil(bytes) + 1);
done:
  return status;
}

/* pdpotrf's products are one block wide: larger blocks, as long as every row and column of
 * the grid has some (two ranks on a busy machine, n = 4,000: 256 takes 0.6 of the time of
 * 64). One rank alone goes by halves. */
static void choose_block(ntk_solve *s) {
  const int most = s->context->size > 1 && s->solver == NTK_SOLVER_CHOLESKY ? 256 : 64;
  int rows, columns;
  ntk_blacs_square(s->context->size, &rows, &columns);
  const int64_t side = rows > columns ? rows : columns;
  for (s->nb = most; s->nb > 64 && s->n < (int64_t)8 * s->nb * side;)
    s->nb /= 2;
}

/* The library, for --method eigen alone. */
static ntk_status choose_eigensolver(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const bool eigen = s->solver == NTK_SOLVER_EIGEN;
  NTK_REQUIRE(eigen || !ntk_options_given(s->options, "eigensolver"), NTK_ERR_ARGUMENT,
              "--eigensolver is of --method eigen; the method is %s",
              ntk_solver_name(s->solver));
  if (eigen)
    NTK_TRY(ntk_eigensolver_choose(ntk_options_string(s->options, "eigensolver"), s->n,
                                   s->nb, s->context->size, true, &s->eigensolver));
done:
  return status;
}

static void say_choice(const ntk_solve *s) {
  const bool by_elpa =
      s->solver == NTK_SOLVER_EIGEN && s->eigensolver == NTK_EIGENSOLVER_ELPA;
  int rows, columns;
  ntk_blacs_square(s->context->size, &rows, &columns);
  ntk_say(s->context, NTK_REPORT_INFO,
          "solve   %s: n = %" PRId64 ", systems %" PRId64 ", right-hand sides %" PRId64
          ", ridges %d, times %d, %s%s on a grid of %d x %d with blocks of %d",
          s->facts->path, s->n, s->planes, s->columns, s->ridges, s->timed ? s->times : 0,
          ntk_solver_name(s->solver), by_elpa ? " (ELPA)" : "", rows, columns, s->nb);
  ntk_say(s->context, NTK_REPORT_INFO, "memory  %.0fM of %" PRId64 "M a rank (%s)",
          total_bytes(s, s->solver, s->context->size) / 1048576, s->cap >> 20,
          s->cap_bound_by);
}

ntk_status ntk_solve_choose(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  const char *method = ntk_options_string(s->options, "method");
  int eigen = s->timed || s->ridges >= MANY_RIDGES;
  NTK_TRY(find_cap(s));
  if (strcmp(method, "auto") == 0) {
    if (!s->timed)
      eigen = eigen && fits(s, NTK_SOLVER_EIGEN, s->context->size);
    NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &eigen, 1, MPI_INT, MPI_MIN, s->context->comm));
    s->solver = eigen ? NTK_SOLVER_EIGEN : NTK_SOLVER_CHOLESKY;
  }
  for (int k = 0; k < NTK_SOLVERS; k++)
    if (strcmp(method, ntk_solver_name((ntk_solver)k)) == 0)
      s->solver = (ntk_solver)k;
  if (!ntk_options_given(s->options, "nb"))
    choose_block(s);
  NTK_TRY(choose_eigensolver(s));
  NTK_TRY(check_cap(s));
  say_choice(s);
done:
  return status;
}
