/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "networks.h"
#include "ntk/split.h"
#include <mpi.h>

/* How groups of parameters are dealt to the depth of a grid, and that the kernels of the
 * shares add up. */

static ntk_context *context;

/* A tie is one piece. */
static void check_tie(const ntk_group *tie, int number, const ntk_split *split) {
  int pieces = 0;
  for (int i = 0; i < split->count; i++)
    if (split->group[i] == number) {
      assert_true(split->pieces[i].roles == tie->roles && !split->is_cut[i]);
      pieces++;
    }
  assert_int_equal(pieces, 1);
}

/* Marks what a piece has of a group's channels: from first on, count of them. */
static void mark(bool *seen, int64_t size, int64_t first, int64_t count) {
  assert_true(first >= 0 && count > 0 && first + count <= size);
  for (int64_t i = first; i < first + count; i++) {
    assert_false(seen[i]);
    seen[i] = true;
  }
}

/* Channels are in the order of the cotangents. */
static void mark_channels(const ntk_group *whole, const ntk_group *piece, bool *seen) {
  int64_t channels = 0;
  assert_true(piece->K == whole->K);
  for (int d = 0; d < piece->d_count; d++) {
    const ntk_d_part *part = &piece->sections[0].d[d];
    assert_true(part->c0 == channels);
    channels += part->layout.C;
    for (int k = 0; k < whole->d_count; k++) {
      const ntk_d_part *from = &whole->sections[0].d[k];
      if (from->root == part->root)
        mark(seen, whole->C, from->c0 + (part->skip - from->skip) / part->layout.dc,
             part->layout.C);
    }
  }
  assert_true(channels == piece->C);
}

static int64_t first_column(const ntk_x_part *from, const ntk_x_part *part) {
  if (part->skip == from->skip)
    return from->k0;
  const int64_t step = part->use.window ? ntk_window_plane(part->use.window) : part->use.xk;
  return from->k0 +
         (part->skip - from->skip) / step * (part->use.window ? ntk_x_part_taps(part) : 1);
}

static void mark_columns(const ntk_group *whole, const ntk_group *piece, bool *seen) {
  int64_t columns = 0;
  assert_true(piece->C == whole->C);
  for (int i = 0; i < piece->x_count; i++) {
    const ntk_x_part *part = &piece->sections[0].x[i];
    assert_true(part->k0 == columns);
    columns += part->K;
    assert_true(!part->use.window || part->K == part->use.channels * ntk_x_part_taps(part));
    for (int k = 0; k < whole->x_count; k++) {
      const ntk_x_part *from = &whole->sections[0].x[k];
      if (from->node == part->node && from->operand == part->operand)
        mark(seen, whole->K, first_column(from, part), part->K);
    }
  }
  assert_true(columns == piece->K);
}

static bool is_cut_along_k(const ntk_groups *groups, const ntk_split *split, int g) {
  bool cut = false;
  for (int i = 0; i < split->count; i++)
    cut = cut || (split->group[i] == g && split->pieces[i].K < groups->groups[g].K);
  return cut;
}

/* Every channel, or every column of X, of every group is in one piece. */
static void check_cover(const ntk_groups *groups, const ntk_split *split) {
  for (int g = 0; g < groups->count; g++) {
    const ntk_group *whole = &groups->groups[g];
    if (whole->roles) {
      check_tie(whole, g, split);
      continue;
    }
    const bool along_k = is_cut_along_k(groups, split, g);
    const int64_t size = along_k ? whole->K : whole->C;
    bool *seen = calloc((size_t)size, sizeof *seen);
    assert_non_null(seen);
    for (int i = 0; i < split->count; i++) {
      const ntk_group *piece = &split->pieces[i];
      if (split->group[i] != g)
        continue;
      assert_true(piece->T == whole->T && piece->G == whole->G);
      (along_k ? mark_columns : mark_channels)(whole, piece, seen);
    }
    for (int64_t k = 0; k < size; k++)
      assert_true(seen[k]);
    free(seen);
  }
}

static void check_shares(const ntk_split *split, int shares) {
  assert_int_equal(split->shares, shares);
  assert_int_equal(split->first[0], 0);
  assert_int_equal(split->first[shares], split->count);
  for (int s = 0; s < shares; s++)
    assert_true(split->first[s] <= split->first[s + 1]);
}

/* most: of the longest share beside the mean. The groups that are cut along k. */
static int deal_subject(subject *s, bool jacobian, ntk_form form, int shares, double most) {
  ntk_network network = network_make(s, NTK_F32, jacobian, false);
  const ntk_cost_shape shape = {form, NTK_F32, 512, 512, s->O, 64, s->O, true};
  int forced, along_k = 0;
  ntk_order *orders = orders_make(&network, &shape, -1, &forced);
  double *seconds = seconds_make(&network, &shape, orders);
  ntk_split split;
  succeed(ntk_split_create(network.groups, orders, seconds, &shape, shares, &split));
  check_shares(&split, shares);
  check_cover(network.groups, &split);
  assert_true(split.largest * shares >= 0.999 && split.largest * shares <= most);
  for (int g = 0; g < network.groups->count; g++)
    along_k += is_cut_along_k(network.groups, &split, g);
  ntk_split_clear(&split);
  free(orders);
  free(seconds);
  network_free(&network);
  return along_k;
}

static void deal(const char *family, const char *options, bool jacobian, ntk_form form,
                 int shares, double most) {
  subject s = subject_generated(context, family, options, 1, 1);
  (void)deal_subject(&s, jacobian, form, shares, most);
  subject_free(&s);
}

static void one_share_has_all(void **state) {
  (void)state;
  deal("fcn", "--width 64 --depth 2 --outputs 5", false, NTK_FORM_FULL, 1, 1.001);
}

static void large_groups_are_cut(void **state) {
  (void)state;
  for (int shares = 2; shares <= 6; shares++) {
    deal("fcn", "--width 1024 --depth 3 --outputs 10", false, NTK_FORM_FULL, shares, 1.1);
    deal("fcn", "--width 256 --depth 2 --outputs 4", true, NTK_FORM_FULL, shares, 1.1);
    deal("resnet18", "--input 3x32x32 --outputs 10", false, NTK_FORM_FULL, shares, 1.1);
    deal("gpt", "--input 8 --width 32 --depth 4 --vocabulary 64 --head tied", false,
         NTK_FORM_FULL, shares, 2);
    deal("fcn", "--width 1024 --depth 3 --outputs 10", false, NTK_FORM_TRACE, shares, 1.2);
  }
}

/* More shares than can have work: some have none. */
static void shares_may_be_empty(void **state) {
  (void)state;
  deal("fcn", "--input 4 --width 8 --depth 1 --outputs 2", false, NTK_FORM_FULL, 9, 9.1);
}

/* Few channels beside many columns of X: strided ones, patches of planes, in groups, with a
 * bias, of two uses, and with a D that no sample changes. */
static const written thin[] = {
    {"dense", "input x 70; param W 70 8; param b 8; param V 8 3; MatMul a x W; Add c a b;"
              "Tanh h c; MatMul y h V; output y 3;"},
    {"linear", "input x 90; param V 90 3; MatMul y x V; output y 3;"},
    {"convolution", "input x 40 5 4; param W 8 40 3 3; param b 8;"
                    "Conv a x W b pads=1,1,1,1; Tanh h a;"
                    "ReduceMean y h axes=2,3 keepdims=0; output y 8;"},
    {"strided groups", "input x 24 7; param W 6 12 3; Conv a x W group=2 strides=2,;"
                       "Tanh y a; output y 6 3;"},
    {"pointwise", "input x 48 6; param W 4 48 1; Conv a x W; Tanh y a; output y 4 6;"},
    {"shortcut", "input x 40 6; param W 4 40 3; param V 4 40 1; Conv a x W pads=1,1;"
                 "Conv b x V; Add c a b; Tanh y c; output y 4 6;"},
    {"used twice", "input x 40; param W 40 8; param b 8; Tanh t x; MatMul a x W;"
                   "Add p a b; Tanh r p; MatMul c t W; Add q c b; Tanh s q; Add y r s;"
                   "output y 8;"}};
enum { THIN = sizeof thin / sizeof *thin };

static void compare(const subject *s, const setup *u, const double *whole) {
  double *sum = kernel_make(s, u);
  const double found = difference(kernel_size(s, u), sum, whole);
  if (!(found < 1e-13))
    fail_msg("%s, order %d, form %d, %d shares, %d passes: off by %g", s->name, u->order,
             (int)u->form, u->shares, u->passes, found);
  free(sum);
}

/* All shares and passes against none, in all forms. */
static void add_up(const subject *s, setup u) {
  for (u.form = NTK_FORM_FULL; u.form <= NTK_FORM_DIAGONAL; u.form++) {
    u.shares = u.passes = 1;
    double *whole = kernel_make(s, &u);
    for (u.shares = 2; whole && u.shares <= 3; u.shares++)
      compare(s, &u, whole);
    for (u.shares = 1; whole && u.shares <= 2; u.shares++)
      for (u.passes = 2; u.passes <= 3; u.passes++)
        compare(s, &u, whole);
    free(whole);
  }
}

/* The least that the largest of so many passes over bytes[0 .. count] can have. */
static int64_t least_of_passes(const int64_t *bytes, int count, int passes) {
  int64_t least = INT64_MAX, sum = 0;
  if (passes == 1 || count <= 1) {
    for (int i = 0; i < count; i++)
      sum += bytes[i];
    return sum;
  }
  for (int i = 1; i <= count; i++) { /* the first takes i */
    sum += bytes[i - 1];
    const int64_t rest = least_of_passes(bytes + i, count - i, passes - 1);
    const int64_t most = sum > rest ? sum : rest;
    least = most < least ? most : least;
  }
  return least;
}

/* The pieces of a share in their order, the largest pass as small as can be. */
static void check_share(const ntk_split *split, int share, const int64_t *bytes,
                        int passes) {
  int64_t most = 0;
  const int first = ntk_split_pieces(split, share, 0).first,
            end = ntk_split_pieces(split, share, split->passes - 1).end;
  for (int pass = 0, at = first; pass < split->passes; pass++) {
    const ntk_pieces p = ntk_split_pieces(split, share, pass);
    int64_t sum = 0;
    assert_true(p.first == at && p.end >= p.first);
    for (; at < p.end; at++)
      sum += bytes[at];
    most = sum > most ? sum : most;
  }
  assert_true(most == least_of_passes(bytes + first, end - first, passes));
}

/* Divided anew and anew: each time as if from one pass. */
static void passes_are_as_small_as_can_be(void **state) {
  (void)state;
  subject s = subject_generated(context, "fcn", "--width 64 --depth 6 --outputs 5", 1, 1);
  ntk_network network = network_make(&s, NTK_F32, false, false);
  const ntk_cost_shape shape = {NTK_FORM_FULL, NTK_F32, 512, 512, s.O, 64, s.O, true};
  int forced;
  ntk_order *orders = orders_make(&network, &shape, -1, &forced);
  double *seconds = seconds_make(&network, &shape, orders);
  int64_t bytes[64];
  for (int shares = 1; shares <= 3; shares++) {
    ntk_split split;
    succeed(ntk_split_create(network.groups, orders, seconds, &shape, shares, &split));
    assert_in_range(split.count, 4, 64);
    for (int i = 0; i < split.count; i++)
      bytes[i] = 1 + (i * 7919 + 31) % 23;
    for (int passes = 1; passes <= split.count + 2; passes++) {
      succeed(ntk_split_divide(&split, bytes, passes));
      assert_in_range(split.passes, 1, passes);
      for (int share = 0; share < shares; share++)
        check_share(&split, share, bytes, passes);
      check_cover(network.groups, &split);
    }
    succeed(ntk_split_divide(&split, bytes, 1));
    check_shares(&split, shares);
    ntk_split_clear(&split);
  }
  free(orders);
  free(seconds);
  network_free(&network);
  subject_free(&s);
}

static void thin_groups_are_cut_along_k(void **state) {
  (void)state;
  for (int i = 0; i < THIN; i++) {
    subject s = subject_written(context, &thin[i], 5, 4);
    setup u = {.algorithm = NTK_ALGORITHM_STRUCTURED, .dtype = NTK_F64, .block = 3};
    for (u.order = -1; u.order < NTK_ORDERS; u.order++)
      add_up(&s, u);
    if (deal_subject(&s, false, NTK_FORM_TRACE, 2, 2.001) == 0)
      fail_msg("%s: not cut along k", s.name);
    subject_free(&s);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_share_has_all), cmocka_unit_test(large_groups_are_cut),
      cmocka_unit_test(shares_may_be_empty), cmocka_unit_test(thin_groups_are_cut_along_k),
      cmocka_unit_test(passes_are_as_small_as_can_be)};
  (void)MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}
