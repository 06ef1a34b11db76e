/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ntk/rates.h"
#include "solve/solve.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---------------------------------------------------------------------------
 */

double ntk_solve_prediction(const ntk_solve *s, int side, int result, int64_t sample,
                            int64_t output) {
  const ntk_side *d = &s->sides[side];
  const double *change = side ? s->tested : s->product;
  const int64_t rows = d->samples * s->facts->per_sample;
  return d->outputs[sample * s->O + output] +
         change[ntk_solve_place(s, rows, result, sample, output)];
}

/* Adds the squares of a sample's errors; is its largest output that of its class? */
static bool look_at_sample(const ntk_solve *s, int side, int result, int64_t n,
                           double *squares) {
  const ntk_side *d = &s->sides[side];
  double most = -INFINITY;
  int64_t best = 0;
  for (int64_t o = 0; o < s->O; o++) {
    const double value = ntk_solve_prediction(s, side, result, n, o);
    const double error = value - d->targets[n * s->O + o];
    *squares += error * error;
    if (value > most) {
      most = value;
      best = o;
    }
  }
  return d->classes && d->classes[n] == best;
}

void ntk_solve_errors(const ntk_solve *s, int side, double *mse, double *accuracy) {
  const ntk_side *d = &s->sides[side];
  for (int m = 0; m < s->results; m++) {
    double squares = 0;
    int64_t right = 0;
    for (int64_t n = 0; n < d->samples && d->targets; n++)
      right += look_at_sample(s, side, m, n, &squares);
    mse[m] = d->targets ? squares / (double)(d->samples * s->O) : NAN;
    accuracy[m] = d->classes ? (double)right / (double)d->samples : NAN;
  }
}

/* ---- the table of results -------------------------------------------------------------
 */

static ntk_status add_number(ntk_text *text, int width, const char *format, double value) {
  char word[32] = "-";
  if (!isnan(value))
    (void)snprintf(word, sizeof word, format, value);
  return ntk_text_add(text, " %*s", width, word);
}

static ntk_status add_head(const ntk_solve *s, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  if (s->timed)
    NTK_TRY(ntk_text_add(text, "%10s ", "time"));
  NTK_TRY(ntk_text_add(text, "%10s %12s %9s", "ridge", "train MSE", "accuracy"));
  if (s->test)
    NTK_TRY(ntk_text_add(text, " %12s %9s", "test MSE", "accuracy"));
  NTK_TRY(ntk_text_add(text, " %10s", "residual"));
done:
  return status;
}

/* errors: MSE and accuracy of both sides, [4][results]. */
static ntk_status add_row(const ntk_solve *s, int m, const double *errors, ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  if (s->timed)
    NTK_TRY(ntk_text_add(text, "%10.4g ", s->time[m / s->ridges]));
  NTK_TRY(ntk_text_add(text, "%10.4g", s->ridge[m % s->ridges]));
  for (int side = 0; side < (s->test ? 2 : 1); side++) {
    NTK_TRY(add_number(text, 12, "%.6g", errors[2 * side * s->results + m]));
    NTK_TRY(add_number(text, 9, "%.4f", errors[(2 * side + 1) * s->results + m]));
  }
  NTK_TRY(ntk_text_add(text, " %10.2g", s->residual[m]));
done:
  return status;
}

/* On rank 0. */
static ntk_status say_results(const ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  ntk_text text = {0};
  double *errors = NULL;
  const int64_t all = s->results;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, 4 * all, sizeof *errors, &errors));
  for (int side = 0; side < (s->test ? 2 : 1); side++)
    ntk_solve_errors(s, side, errors + all * 2 * side, errors + all * (2 * side + 1));
  NTK_TRY(add_head(s, &text));
  for (int m = 0; m < s->results; m++) {
    NTK_TRY(ntk_text_add(&text, "\n"));
    NTK_TRY(add_row(s, m, errors, &text));
  }
  ntk_say(s->context, NTK_REPORT_RESULT, "%s", text.data);
done:
  ntk_text_clear(&text);
  ntk_free(&errors);
  return status;
}

/* ---- phases ---------------------------------------------------------------------------
 */

/* Of all ranks together, in large products of f64, just now. */
static ntk_status measure_gemm(ntk_context *context, double *gflops) {
  ntk_status status = NTK_SUCCESS;
  double flops = 0;
  NTK_TRY(ntk_agree(context->comm, ntk_rates_gemm_now(NTK_F64, &flops)));
  NTK_TRY_MPI(MPI_Allreduce(&flops, gflops, 1, MPI_DOUBLE, MPI_SUM, context->comm));
  *gflops *= 1e-9;
done:
  return status;
}

static const char *phase_name(const ntk_solve *s, int phase) {
  static const char *const names[NTK_SOLVE_PHASES] = {"read kernel", "", "solve and check",
                                                      "test kernel", "write"};
  return phase != NTK_SOLVE_FACTOR       ? names[phase]
         : s->solver == NTK_SOLVER_EIGEN ? "eigenvalues"
                                         : "factorization";
}

/* Rates of less say nothing. */
static const double seconds_of_rates = 0.2;

static ntk_status say_phases(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  double gemm = 0;
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, s->seconds, NTK_SOLVE_PHASES, MPI_DOUBLE, MPI_MAX,
                            s->context->comm));
  if (s->seconds[NTK_SOLVE_FACTOR] + s->seconds[NTK_SOLVE_TEST] > seconds_of_rates)
    NTK_TRY(measure_gemm(s->context, &gemm));
  for (int i = 0; i < NTK_SOLVE_PHASES; i++) {
    const double rate = s->seconds[i] > 0 ? 1e-9 * s->flops[i] / s->seconds[i] : 0;
    if (s->seconds[i] == 0)
      continue;
    if (rate > 0 && gemm > 0)
      ntk_say(s->context, NTK_REPORT_INFO, "%-16s %8.3f s %10.4g GFLOP/s, %.0f %% of GEMM",
              phase_name(s, i), s->seconds[i], rate, 100 * rate / gemm);
    else
      ntk_say(s->context, NTK_REPORT_INFO, "%-16s %8.3f s", phase_name(s, i),
              s->seconds[i]);
  }
  if (gemm > 0)
    ntk_say(s->context, NTK_REPORT_INFO,
            "%-16s %21.4g GFLOP/s of f64 on these ranks, just now", "GEMM", gemm);
done:
  return status;
}

static ntk_status say_memory(const ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  int64_t peak = ntk_memory_resident_peak();
  NTK_TRY_MPI(
      MPI_Allreduce(MPI_IN_PLACE, &peak, 1, MPI_INT64_T, MPI_MAX, s->context->comm));
  ntk_say(s->context, NTK_REPORT_INFO, "memory: peak %" PRId64 "M of %" PRId64 "M per rank",
          (peak + (1 << 20) - 1) >> 20, s->cap >> 20);
done:
  return status;
}

ntk_status ntk_solve_report(ntk_solve *s) {
  ntk_status status = NTK_SUCCESS;
  double scaled = 0;
  if (s->context->rank == 0)
    status = say_results(s);
  NTK_TRY(ntk_agree(s->context->comm, status));
  for (int m = 0; m < s->results; m++)
    scaled = fmax(scaled, s->scaled[m]);
  ntk_say(s->context, NTK_REPORT_INFO,
          "residual         %8.3g of norm x n x eps at most (to be below 30)", scaled);
  NTK_TRY(say_phases(s));
  NTK_TRY(say_memory(s));
done:
  return status;
}
