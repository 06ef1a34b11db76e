/* SPDX-License-Identifier: Apache-2.0 */
/* Included once for each type: `real`, NAME(function). No include guard. */

void NAME(ntk_im2col)(const ntk_window *window, int64_t channels, const real *x, real *out,
                      int64_t ld_out);
void NAME(ntk_im2col_part)(const ntk_window *window, int64_t channels, int64_t first,
                           int64_t count, const real *x, real *out, int64_t ld_out);
void NAME(ntk_col2im_add_part)(const ntk_window *window, int64_t channels, int64_t first,
                               int64_t count, const real *col, int64_t ld_col, real *x);

/* Small integers, so that all sums are exact. */
static real *NAME(integers)(int64_t count, int seed) {
  real *x = malloc((size_t)count * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < count; i++)
    x[i] = (real)((i + seed) * 7919 % 17 - 8);
  return x;
}

/* Patches of all pixels, and of a part of them, are what read_input says. */
static void NAME(check_patches)(const ntk_window *w, int64_t channels) {
  const int64_t K = channels * volume(w->kernel), T = volume(w->output), ld = K + 2;
  const int64_t first = T / 3, count = T - first - T / 4;
  real *x = NAME(integers)(channels * volume(w->input), 1);
  real *col = NAME(integers)(T * ld, 2), *part = NAME(integers)(T * ld, 3);
  NAME(ntk_im2col)(w, channels, x, col, ld);
  NAME(ntk_im2col_part)(w, channels, first, count, x, part, ld);
  for (int64_t t = 0; t < T; t++) {
    for (int64_t k = 0; k < K; k++) {
      const int64_t at = input_index(w, t, k % volume(w->kernel));
      const real expected = at < 0 ? 0 : x[k / volume(w->kernel) * volume(w->input) + at];
      assert_true(col[t * ld + k] == expected);
      if (t >= first && t < first + count)
        assert_true(part[(t - first) * ld + k] == expected);
    }
    for (int64_t k = K; k < ld; k++) /* between the rows nothing is written */
      assert_true(col[t * ld + k] == (real)((t * ld + k + 2) * 7919 % 17 - 8));
  }
  free(x);
  free(col);
  free(part);
}

/* <col, im2col(x)> = <col2im(col), x>, also in two parts, added to what is there. */
static void NAME(check_adjoint)(const ntk_window *w, int64_t channels) {
  const int64_t size = channels * volume(w->input), half = volume(w->output) / 2;
  const int64_t K = channels * volume(w->kernel), T = volume(w->output);
  real *x = NAME(integers)(size, 1), *col = NAME(integers)(T * K, 2);
  real *patches = NAME(integers)(T * K, 3), *back = NAME(integers)(size, 4);
  real *start = NAME(integers)(size, 4), *parts = NAME(integers)(size, 4);
  NAME(ntk_im2col)(w, channels, x, patches, K);
  NAME(ntk_col2im_add_part)(w, channels, 0, T, col, K, back);
  NAME(ntk_col2im_add_part)(w, channels, 0, half, col, K, parts);
  NAME(ntk_col2im_add_part)(w, channels, half, T - half, col + half * K, K, parts);
  double left = 0, right = 0;
  for (int64_t i = 0; i < T * K; i++)
    left += (double)col[i] * (double)patches[i];
  for (int64_t i = 0; i < size; i++) {
    right += (double)(back[i] - start[i]) * (double)x[i];
    assert_true(back[i] == parts[i]);
  }
  assert_true(left == right);
  free(x);
  free(col);
  free(patches);
  free(back);
  free(start);
  free(parts);
}
