/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "networks.h"
#include <mpi.h>

/* The factor description: which uses become one group, with which sizes and scalars, and
 * which cotangents are constant. (Their numbers are checked by test_engine.) */

static ntk_context *context;

/* What a group must look like; 0 and NULL: anything. */
typedef struct expected {
  const char *network, *options, *tensors;
  int64_t G, T, K, C;
  int sections, x_count, d_count;
  double scale[4];
  int64_t entries; /* of the constant D; -1: it depends on the sample */
} expected;

static const expected groups_of_golden[] = {
    /* a weight with its bias; identity top */
    {"fcn", NULL, "0.weight+0.bias", 1, 1, 8, 16, 1, 2, 1, {1, 1}, -1},
    {"fcn", NULL, "4.weight+4.bias", 1, 1, 13, 3, 1, 2, 1, {1, 1}, 3},
    {"lenet5", NULL, "3.weight+3.bias", 1, 36, 151, 16, 1, 2, 1, {1, 1}, -1},
    /* a bias knows no groups of channels */
    {"groups", NULL, "0.weight+0.bias", 2, 30, 19, 4, 1, 2, 1, {1, 1}, -1},
    {"groups", NULL, "2.weight+2.bias", 8, 30, 10, 2, 1, 2, 1, {1, 1}, -1},
    /* the last convolution and the shortcut, which a scalar sets apart */
    {"residual_convolutions",
     NULL,
     "conv2.weight+shortcut.weight+conv2.bias+shortcut.bias",
     1,
     12,
     60,
     6,
     1,
     4,
     1,
     {0.5, 1, 0.5, 1},
     -1},
    /* a norm stands between them */
    {"resnet_batchnorm", NULL, "4.conv2.weight", 1, 12, 54, 6, 1, 1, 1, {1}, -1},
    {"resnet_batchnorm", NULL, "4.shortcut.0.weight", 1, 12, 4, 6, 1, 1, 1, {1}, -1},
    /* used twice: sections */
    {"used_twice", NULL, "inner.weight+inner.bias", 1, 2, 7, 6, 2, 2, 1, {1, 1}, -1},
    {"convolution_used_twice",
     NULL,
     "inner.weight+inner.bias",
     1,
     40,
     28,
     3,
     2,
     2,
     1,
     {1, 1},
     -1},
    /* in two roles: no factors; its bias alone has none either */
    {"transposed", NULL, "weight+bias", 1, 1, 1, 36, 1, 0, 2, {0}, -1},
    /* the same X */
    {"attention",
     NULL,
     "q.weight+q.bias+k.weight+k.bias+v.weight+v.bias",
     1,
     4,
     9,
     24,
     1,
     2,
     3,
     {1, 1},
     -1},
    /* what is elementwise, or whose path leads through parameters */
    {"attention",
     NULL,
     "position+norm1.weight+norm1.bias+scale",
     1,
     1,
     1,
     72,
     1,
     0,
     6,
     {0},
     -1},
    {"weight_norm", NULL, "g+v+square", 1, 1, 1, 90, 1, 0, 3, {0}, -1},
    /* one weight in parts of one X, one in parts of several, and one of which a part is
       used */
    {"cut_weights",
     NULL,
     "fused[0]+bias[0]+fused[1]+bias[1]+fused[2]+bias[2]",
     1,
     4,
     7,
     18,
     1,
     2,
     3,
     {1, 1},
     -1},
    {"cut_weights", NULL, "stack[0]", 1, 4, 6, 6, 1, 1, 1, {1}, -1},
    {"cut_weights", NULL, "stack[1]", 1, 4, 6, 6, 1, 1, 1, {1}, -1},
    {"cut_weights", NULL, "last", 1, 1, 6, 4, 1, 1, 1, {1}, 4},
    /* products that are cut afterwards; nothing but tables, tokens and norms is dense */
    {"vit_fused", NULL, "patch.weight+patch.bias", 1, 4, 33, 16, 1, 2, 1, {1, 1}, -1},
    {"vit_fused",
     NULL,
     "blocks.0.qkv.weight+blocks.0.qkv.bias",
     1,
     5,
     17,
     48,
     1,
     2,
     1,
     {1, 1},
     -1},
    {"vit_fused",
     NULL,
     "token+position+blocks.0.norm1.weight+blocks.0.norm1.bias",
     1,
     1,
     1,
     256,
     1,
     0,
     12,
     {0},
     -1},
    {"vit_encoder",
     NULL,
     "blocks.1.self_attn.in_proj_weight+blocks.1.self_attn.in_proj_bias",
     1,
     5,
     17,
     48,
     1,
     2,
     1,
     {1, 1},
     -1},
    {"vit_encoder",
     NULL,
     "blocks.1.linear2.weight+blocks.1.linear2.bias",
     1,
     5,
     65,
     16,
     1,
     2,
     1,
     {1, 1},
     -1},
    {"vit_encoder",
     NULL,
     "token+position+blocks.0.norm1.weight+blocks.0.norm1.bias",
     1,
     1,
     1,
     256,
     1,
     0,
     12,
     {0},
     -1},
    /* scalars on the product and on the weight */
    {"ntk", NULL, "2.weight+2.bias", 1, 1, 17, 12, 1, 2, 1, {0.35355339, 0.1}, -1},
    {"scaled_weight", NULL, "first", 1, 1, 6, 8, 1, 1, 1, {0.3}, -1},
    {"scaled_weight", NULL, "second", 1, 1, 8, 3, 1, 1, 1, {-1}, 3},
    /* weight times data; outputs per position */
    {"mixer", NULL, "tokens", 1, 6, 4, 5, 1, 1, 1, {1}, -1},
    {"mixer", NULL, "mix.weight+mix.bias", 1, 6, 6, 3, 1, 2, 1, {1, 1}, -1},
    {"mixer", NULL, "channels.weight+channels.bias", 1, 3, 7, 2, 1, 2, 1, {1, 1}, 18},
    {"sequence", NULL, "head.weight+head.bias", 1, 4, 8, 3, 1, 2, 1, {1, 1}, 48},
    /* frozen members drop out */
    {"residual_convolutions",
     "--freeze *.bias --freeze conv2.weight",
     "shortcut.weight",
     1,
     12,
     4,
     6,
     1,
     1,
     1,
     {1},
     -1},
    {"attention",
     "--freeze k.*",
     "q.weight+q.bias+v.weight+v.bias",
     1,
     4,
     9,
     16,
     1,
     2,
     2,
     {1, 1},
     -1}};

static const expected groups_of_written[] = {
    {"an output that is used further", NULL, "W+b", 1, 1, 6, 6, 1, 2, 1, {1, 1}, -1},
    {"an output that is used further", NULL, "V", 1, 1, 6, 3, 1, 1, 1, {1}, 3},
    {"recurrent cell", NULL, "U+b", 1, 1, 5, 4, 1, 2, 1, {1, 1}, -1},
    {"two biases", NULL, "W+a+b", 1, 1, 7, 4, 1, 3, 1, {1, 1, 1}, -1},
    {"sum of two weights", NULL, "V+W", 1, 1, 10, 4, 1, 2, 1, {1, 1}, -1},
    {"sum of a weight with itself", NULL, "W", 1, 2, 5, 4, 2, 1, 1, {1}, -1},
    {"one weight, one cotangent", NULL, "W", 1, 2, 5, 4, 2, 1, 1, {1}, -1},
    {"difference of products", NULL, "W+V+b", 1, 1, 11, 4, 1, 3, 1, {-1, 1, 1}, -1},
    {"transposed and negated weight", NULL, "W", 1, 1, 5, 4, 1, 1, 1, {-1}, -1},
    {"sections of unlike length", NULL, "W+b", 1, 4, 6, 5, 2, 2, 1, {1, 1}, -1},
    {"bias of a column", NULL, "W+b", 1, 5, 4, 3, 1, 2, 1, {1, 1}, -1},
    {"position table and gain", NULL, "p+g", 1, 1, 1, 20, 1, 0, 2, {0}, -1},
    {"scaled residual", NULL, "V+b", 1, 1, 6, 5, 1, 2, 1, {0.25, 1}, -1},
    {"squared weight", NULL, "W", 1, 1, 1, 20, 1, 0, 1, {0}, -1},
    /* W and W^T: factors of each, and what is between them */
    {"weight in two roles", NULL, "W[0]", 1, 1, 4, 4, 1, 1, 1, {1}, -1},
    {"weight in two roles", NULL, "W[1]", 1, 1, 4, 4, 1, 1, 1, {1}, 4},
    {"weight in two roles", NULL, "W[0]*[1]", 1, 1, 4, 4, 0, 0, 0, {0}, 4},
    {"batched weight", NULL, "W", 3, 2, 5, 4, 1, 1, 1, {1}, -1},
    {"grouped convolution and its bias", NULL, "W", 2, 5, 6, 3, 1, 1, 1, {1}, -1},
    {"one input, two scales", NULL, "W", 1, 1, 5, 4, 1, 1, 1, {0.5}, -1},
    {"one input, two scales", NULL, "V", 1, 1, 5, 4, 1, 1, 1, {1}, -1},
    {"slices that overlap", NULL, "W", 1, 1, 1, 20, 1, 0, 1, {0}, -1},
    {"a part as weight, a part as bias", NULL, "W", 1, 1, 1, 24, 1, 0, 1, {0}, -1},
    {"a slice used twice", NULL, "W[0]+b", 1, 2, 5, 4, 2, 2, 1, {1, 1}, -1},
    {"a slice used twice", NULL, "W[1]", 1, 1, 4, 4, 1, 1, 1, {1}, 4},
    {"slices of filters", NULL, "W[0]+W[1]", 1, 5, 6, 7, 1, 1, 2, {1}, -1},
    {"rows gathered twice", NULL, "W", 1, 1, 1, 20, 1, 0, 1, {0}, -1},
    {"a bias whose half has no weight", NULL, "b", 1, 1, 1, 8, 1, 0, 1, {0}, -1},
    {"grouped convolutions of one input", NULL, "W+V", 2, 3, 6, 7, 1, 1, 2, {1}, -1},
    {"a table", NULL, "W", 1, 6, 11, 5, 1, 1, 1, {1}, -1},
    {"a table at the outputs", NULL, "W", 1, 3, 4, 2, 1, 1, 1, {1}, 18},
    {"two tables and a bias", NULL, "W+V+b", 1, 4, 17, 5, 1, 3, 1, {1, 1, 1}, -1},
    {"a table beside a weight", NULL, "W+U+b", 1, 6, 9, 5, 1, 3, 1, {1, -1, 1}, -1},
    {"a table that is the head, too", NULL, "W", 1, 1, 1, 35, 1, 0, 1, {0}, -1},
    {"a longer table that is the head, too", NULL, "W[0]", 1, 3, 20, 5, 1, 1, 1, {1}, -1},
    {"a longer table that is the head, too",
     NULL,
     "W[1]+b",
     1,
     1,
     6,
     20,
     1,
     2,
     1,
     {1, 1},
     20},
    {"a longer table that is the head, too",
     NULL,
     "W[0]*[1]",
     1,
     3,
     20,
     5,
     0,
     0,
     0,
     {0},
     20},
    {"a table along both axes", NULL, "W[0]*[1]", 1, 3, 30, 30, 0, 0, 0, {0}, -1},
    {"tied encoder and decoder", NULL, "W[0]+b", 1, 1, 7, 3, 1, 2, 1, {1, 1}, -1},
    {"tied encoder and decoder", NULL, "W[1]+c", 1, 1, 4, 6, 1, 2, 1, {-0.5, 1}, -1},
    {"tied encoder and decoder", NULL, "W[0]*[1]", 1, 1, 6, 3, 0, 0, 0, {0}, -1},
    {"tied batched weight", NULL, "W[0]*[1]", 3, 1, 6, 4, 0, 0, 0, {0}, -1},
    {"tied convolutions", NULL, "W[0]*[1]", 1, 2, 18, 5, 0, 0, 0, {0}, -1},
    {"a table along its second axis", NULL, "W", 1, 4, 7, 5, 1, 1, 1, {1}, -1}};

static int find_group(const ntk_network *network, const expected *e) {
  for (int i = 0; i < network->groups->count; i++)
    if (strcmp(network->groups->groups[i].name, e->tensors) == 0)
      return i;
  fail_msg("%s: no group %s", e->network, e->tensors);
  return -1;
}

static void check_group(const ntk_network *network, const expected *e) {
  const int number = find_group(network, e);
  const ntk_group *g = &network->groups->groups[number];
  const ntk_constant *constant = &network->constants[number];
  if (g->G != e->G || g->T != e->T || g->K != e->K || g->C != e->C)
    fail_msg("%s, %s: G %d T %d K %d C %d", e->network, e->tensors, (int)g->G, (int)g->T,
             (int)g->K, (int)g->C);
  assert_int_equal(g->section_count, e->sections);
  assert_int_equal(g->x_count, e->x_count);
  assert_int_equal(g->d_count, e->d_count);
  assert_int_equal(g->unit_x, e->x_count == 0 && e->sections > 0);
  assert_int_equal(g->roles != NULL, e->sections == 0);
  for (int s = 0; s < g->section_count; s++)
    for (int x = 0; x < g->x_count; x++)
      assert_true(fabs(g->sections[s].x[x].scale - e->scale[x]) < 1e-7);
  assert_int_equal(constant->entries ? constant->count : -1, e->entries);
  /* the identity: E[o,p](t,s) = 1 where o = (t,c) and p = (s,c) */
  for (int64_t i = 0; i < constant->count; i++) {
    const ntk_constant_entry *entry = &constant->entries[i];
    assert_true(entry->e == 1);
    assert_true(g->T > 1 || g->roles || entry->o == entry->p);
  }
}

/* Sections cover T, parts K and C without gaps. */
static void check_sections(const ntk_groups *groups, const ntk_group *g) {
  int64_t T = 0;
  for (int s = 0; s < g->section_count; s++) {
    const ntk_section *section = &g->sections[s];
    int64_t K = 0, C = 0;
    assert_int_equal(section->t0, T);
    T += section->T;
    for (int x = 0; x < g->x_count; K += section->x[x++].K)
      assert_int_equal(section->x[x].k0, K);
    for (int d = 0; d < g->d_count; C += section->d[d++].layout.C) {
      const ntk_d_layout *l = &section->d[d].layout;
      assert_int_equal(section->d[d].c0, C);
      assert_int_equal(l->T1 * l->T2, section->T);
      assert_int_equal(l->G, g->G);
      assert_true(groups->wanted[section->d[d].root]);
    }
    assert_int_equal(C, g->C);
    assert_int_equal(K, g->unit_x ? 0 : g->K);
  }
  assert_int_equal(T, g->T);
}

/* The roles are of one tensor, and hold its elements exchanged. */
static int64_t check_tie(const ntk_groups *groups, const ntk_group *tie) {
  const ntk_group *a = &tie->roles[0], *b = &tie->roles[1];
  check_sections(groups, a);
  check_sections(groups, b);
  assert_true(a->G == b->G && a->K == b->C && a->C == b->K);
  return a->G * a->K * a->C;
}

/* Every parameter lies in one group, those of ties in two, but for those that are not
 * used. */
static void check_cover(const ntk_network *network, int64_t not_used) {
  int64_t elements = not_used;
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_group *g = &network->groups->groups[i];
    if (g->roles) {
      elements -= check_tie(network->groups, g);
      continue;
    }
    elements += g->G * g->K * g->C;
    check_sections(network->groups, g);
  }
  assert_int_equal(elements, ntk_graph_parameters(network->graph));
}

static void golden_groups(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof groups_of_golden / sizeof *groups_of_golden; i++) {
    const expected *e = &groups_of_golden[i];
    subject s = subject_golden_with(context, e->network, e->options);
    ntk_network network = network_make(&s, NTK_F64, false, false);
    check_group(&network, e);
    network_free(&network);
    subject_free(&s);
  }
}

static void written_groups(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof groups_of_written / sizeof *groups_of_written; i++) {
    const expected *e = &groups_of_written[i];
    int number = 0;
    while (strcmp(written_networks[number].name, e->network) != 0)
      assert_true(++number < WRITTEN);
    subject s = subject_written(context, &written_networks[number], 1, 1);
    ntk_network network = network_make(&s, NTK_F64, false, false);
    check_group(&network, e);
    network_free(&network);
    subject_free(&s);
  }
}

static void every_parameter_is_in_one_group(void **state) {
  (void)state;
  for (int i = 0; i < GOLDEN + WRITTEN; i++) {
    subject s = i < GOLDEN ? subject_golden(context, golden[i])
                           : subject_written(context, &written_networks[i - GOLDEN], 1, 1);
    for (int jacobian = 0; jacobian < 2; jacobian++) {
      ntk_network network = network_make(&s, NTK_F32, jacobian, false);
      check_cover(&network, !jacobian && strcmp(s.name, "cut_weights") == 0 ? 6 : 0);
      if (jacobian) {
        assert_int_equal(network.groups->count, 1);
        assert_true(network.groups->groups[0].unit_x);
      }
      network_free(&network);
    }
    subject_free(&s);
  }
}

/* The sum of outputs / sqrt(O) as the one cotangent: D is 1/sqrt(O) for each, E = 1. */
static void pseudo_top_is_constant(void **state) {
  (void)state;
  subject s = subject_golden(context, "fcn");
  ntk_network network = network_make(&s, NTK_F64, false, true);
  const expected e = {.network = "fcn", .tensors = "4.weight+4.bias"};
  const ntk_constant *constant = &network.constants[find_group(&network, &e)];
  assert_int_equal(constant->count, 1);
  assert_true(fabs(constant->entries[0].e - 1) < 1e-15);
  network_free(&network);
  subject_free(&s);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(golden_groups),
                                     cmocka_unit_test(written_groups),
                                     cmocka_unit_test(every_parameter_is_in_one_group),
                                     cmocka_unit_test(pseudo_top_is_constant)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_SELF, NULL, &context) != NTK_SUCCESS)
    return 1;
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}
