/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/turns.h"
#include "base/memory.h"
#include <math.h>

static const double unknown = 1e-15; /* so fast that no task keeps a thread busy */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static double later(double a, double b) { return a > b ? a : b; }

ntk_status ntk_turns_create(int64_t threads, ntk_turns *out) {
  ntk_status status = NTK_SUCCESS;
  *out = (ntk_turns){.threads = threads};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, threads, sizeof(double), &out->until));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, threads, sizeof(double), &out->pace));
  for (int64_t i = 0; i < threads; i++)
    out->pace[i] = unknown;
done:
  if (status != NTK_SUCCESS)
    ntk_turns_destroy(out);
  return status;
}

void ntk_turns_destroy(ntk_turns *turns) {
  ntk_free(&turns->until);
  ntk_free(&turns->pace);
}

/* Pairs of the first `rows` row samples. */
static double work_of(const ntk_turns *t, int64_t rows) {
  return (double)rows * (t->tile.mirror ? (double)(rows + 1) / 2 : (double)t->tile.columns);
}

/* No thread is thought so slow, after a moment in which it stood still, that it would get
 * no task: that alone can tell otherwise. */
static void limit_paces(ntk_turns *t) {
  double fastest = INFINITY;
  for (int64_t i = 0; i < t->threads; i++)
    if (t->pace[i] > unknown && t->pace[i] < fastest)
      fastest = t->pace[i];
  for (int64_t i = 0; i < t->threads; i++)
    if (t->pace[i] > 4 * fastest)
      t->pace[i] = 4 * fastest;
}

void ntk_turns_begin(ntk_turns *turns, const ntk_turns_tile *tile, double now) {
  turns->tile = *tile;
  turns->left = tile->rows;
  limit_paces(turns);
  for (int64_t i = 0; i < turns->threads; i++)
    turns->until[i] = i == 0 ? now + turns->late : now;
}

void ntk_turns_join(ntk_turns *turns, double began, double now) {
  turns->late = (turns->late + now - began) / 2;
  turns->until[0] = now;
}

/* Seconds until all would be done with so much work; threads that are busy longer than that
 * take no part in it. */
static double end_of(const ntk_turns *t, double work, double now) {
  double end = INFINITY, next;
  for (;; end = next) {
    double sum = work, speed = 0;
    for (int64_t i = 0; i < t->threads; i++) {
      const double busy = later(t->until[i] - now, 0);
      sum += busy < end ? busy / t->pace[i] : 0;
      speed += busy < end ? 1 / t->pace[i] : 0;
    }
    next = sum / speed;
    if (next >= end)
      return end;
  }
}

int64_t ntk_turns_take(ntk_turns *turns, int64_t thread, double now) {
  const int64_t left = turns->left, unit = turns->tile.unit;
  if (left == 0)
    return 0;
  turns->until[thread] = now;
  const double all = work_of(turns, left);
  const double mine = end_of(turns, all, now) / turns->pace[thread];
  int64_t n = 0; /* the nearest number */
  while (n < left &&
         all - work_of(turns, left - n) / 2 - work_of(turns, left - n - 1) / 2 < mine)
    n++;
  if (n < unit)
    n = unit;
  if (left - n < unit) /* none for others, or as much as a task must have */
    n = left < 2 * unit || 2 * (left - n) < unit ? left : left - unit;
  n = least(n, least(turns->tile.most, left));
  turns->left -= n;
  turns->until[thread] = now + (all - work_of(turns, left - n)) * turns->pace[thread];
  return n;
}

/* Small tasks tell less of how slow a thread is, as they fetch columns for few rows; of one
 * that is faster than thought they tell enough: a slow moment is soon forgotten. */
void ntk_turns_taken(ntk_turns *turns, int64_t thread, int64_t end, int64_t n, double began,
                     double now) {
  const double work = work_of(turns, end) - work_of(turns, end - n);
  const double pace = later((now - began) / work, unknown);
  const double share = work * (double)turns->threads / work_of(turns, turns->tile.rows);
  double *mine = &turns->pace[thread];
  if (*mine == unknown)
    *mine = pace;
  else
    *mine += (pace - *mine) * (pace < *mine || share > 1 ? 1 : share) / 2;
}
