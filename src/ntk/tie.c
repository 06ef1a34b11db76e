/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/tie.h"

/* Columns of a product with the samples of a strip, and positions (t,s) of all pairs of a
 * row sample with them; one sample may have more. */
enum { STRIP_SAMPLES = 24, STRIP_POSITIONS = 4096 };

static int64_t positions_of(const ntk_group *tie) {
  return tie->roles[0].T * tie->roles[1].T;
}

int64_t ntk_tie_samples(const ntk_group *tie) {
  const int64_t m = STRIP_POSITIONS / positions_of(tie);
  return m < 1 ? 1 : m < STRIP_SAMPLES ? m : STRIP_SAMPLES;
}

int64_t ntk_tie_scratch(const ntk_group *tie, int64_t o) {
  const int64_t positions = positions_of(tie), all = o * positions;
  return 2 * ntk_tie_samples(tie) * all + 2 * all + ntk_packed(o, positions);
}

ntk_tie_strip ntk_tie_strip_of(const ntk_group *tie, ntk_order order, int64_t m,
                               int64_t o) {
  ntk_tie_strip s = {0};
  for (int r = 0; r < 2; r++) {
    const ntk_group *role = &tie->roles[r];
    s.x[r] = s.size;
    s.size += ntk_packed(m * role->T, role->one_hot ? 2 : role->row_K);
    s.d[r] = s.size;
    s.size += ntk_tie_lacks_d(order, r) ? 0 : ntk_packed(m * o * role->T, role->C);
  }
  return s;
}
