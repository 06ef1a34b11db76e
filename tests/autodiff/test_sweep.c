/* SPDX-License-Identifier: Apache-2.0 */
#include "../ntk/networks.h"

#include "autodiff/slots.h"
#include "autodiff/sweep.h"
#include <mpi.h>

/* The three sweeps over whole networks: forward against torch's outputs, tangents and
 * cotangents against differences and each other, whatever the block. */

static ntk_context *context;

enum { SEEDS = 3, DIRECTIONS = 2 };

/* A network whose parameters are f64, so that they can be moved by little. */
typedef struct trial {
  subject s;
  const ntk_graph *graph;
  ntk_net *net;
  int64_t n, P;
  double *seeds; /* [SEEDS, O] */
} trial;

static void widen_parameters(const ntk_graph *graph) {
  for (int i = 0; i < graph->parameter_count; i++) {
    ntk_value *value = &graph->values[graph->parameters[i]];
    ntk_tensor *wide;
    succeed(ntk_tensor_create(NTK_F64, &value->shape, &wide));
    ntk_convert(value->constant->dtype, value->constant->data, NTK_F64, wide->data,
                ntk_shape_size(&value->shape));
    ntk_tensor_destroy(&value->constant);
    value->constant = wide;
  }
}

static trial trial_make(subject s) {
  trial t = {.s = s, .graph = s.model->graph, .n = s.count[0]};
  widen_parameters(t.graph);
  succeed(ntk_net_create(t.graph, NTK_F64, NULL, &t.net));
  t.P = ntk_graph_parameters(t.graph);
  t.seeds = doubles(SEEDS * s.O);
  for (int64_t i = 0; i < SEEDS * s.O; i++)
    t.seeds[i] = number(77, (uint64_t)i);
  return t;
}

/* The same seeds for all samples. */
static ntk_seeds alike(const trial *t) { return (ntk_seeds){.data = t->seeds}; }

static void trial_free(trial *t) {
  ntk_net_destroy(&t->net);
  subject_free(&t->s);
  free(t->seeds);
}

/* Parameters and the input. */
static bool *all_wanted(const trial *t) {
  bool *wanted = calloc((size_t)t->graph->value_count, sizeof *wanted);
  assert_non_null(wanted);
  for (int i = 0; i < t->graph->parameter_count; i++)
    wanted[t->graph->parameters[i]] = true;
  wanted[t->graph->inputs[0]] = true;
  return wanted;
}

static ntk_sweep *sweep_make(const trial *t, int64_t n, const bool *wanted) {
  ntk_sweep *sweep;
  const ntk_sweep_limits limits = {
      .samples = n, .cotangents = SEEDS, .directions = DIRECTIONS};
  succeed(ntk_sweep_create(t->net, limits, wanted, &sweep));
  return sweep;
}

/* Outputs [n, O] of samples `first` .. of side 0. */
static void forward(const trial *t, ntk_sweep *sweep, int64_t first, int64_t n,
                    double *outputs) {
  const void *inputs = t->s.samples[0] + first * t->s.size;
  succeed(ntk_sweep_forward(sweep, n, &inputs, first));
  ntk_sweep_outputs(sweep, outputs);
}

/* Cotangents [n, o, size] of each wanted value, dense. */
typedef struct collected {
  const trial *t;
  int64_t n;
  double **values; /* [values] NULL: not delivered */
  bool *shared;    /* [values] came without the sample */
} collected;

static collected collected_make(const trial *t, int64_t n) {
  const size_t count = (size_t)t->graph->value_count;
  const collected c = {t, n, calloc(count, sizeof(double *)), calloc(count, sizeof(bool))};
  assert_true(c.values && c.shared);
  return c;
}

static void collected_free(collected *c) {
  for (int v = 0; v < c->t->graph->value_count; v++)
    free(c->values[v]);
  free(c->values);
  free(c->shared);
}

static void collect(void *user, int value, ntk_array cotangent) {
  const collected *c = user;
  const int64_t size = ntk_graph_size(c->t->graph, value);
  assert_null(c->values[value]); /* once */
  c->values[value] = doubles(c->n * SEEDS * size);
  c->shared[value] = cotangent.outer == 0;
  for (int64_t i = 0; i < c->n; i++)
    for (int64_t o = 0; o < SEEDS; o++)
      memcpy(c->values[value] + (i * SEEDS + o) * size,
             (const double *)cotangent.data + i * cotangent.outer + o * cotangent.inner,
             (size_t)size * sizeof(double));
}

static double dot(int64_t n, const double *a, const double *b) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static void near(double a, double b, double tolerance, const char *what) {
  if (!(fabs(a - b) <= tolerance * (1 + fabs(b))))
    fail_msg("%s: %.17g is not %.17g", what, a, b);
}

/* ---- forward ---- */

static void forward_agrees_with_torch(const trial *t, const char *name) {
  int64_t count;
  double *expected = read_reference(name, "outputs", &count);
  double *together = doubles(count), *alone = doubles(count);
  ntk_sweep *sweep = sweep_make(t, t->n, NULL);
  forward(t, sweep, 0, t->n, together);
  assert_true(difference(count, together, expected) < 1e-12);
  for (int64_t i = 0; i < t->n; i++)
    forward(t, sweep, i, 1, alone + i * t->s.O);
  assert_true(difference(count, alone, together) < 1e-13);
  ntk_sweep_destroy(&sweep);
  free(expected);
  free(together);
  free(alone);
}

/* ---- tangents ---- */

static double *random_directions(const trial *t, const void **parts) {
  double *directions = doubles(DIRECTIONS * t->P), *at = directions;
  for (int64_t i = 0; i < DIRECTIONS * t->P; i++)
    directions[i] = number(5, (uint64_t)i);
  for (int i = 0; i < t->graph->parameter_count; i++) {
    parts[i] = at;
    at += DIRECTIONS * ntk_graph_size(t->graph, t->graph->parameters[i]);
  }
  return directions;
}

/* Moves the parameters along direction d. */
static void move_parameters(const trial *t, const void *const *parts, int64_t d,
                            double step) {
  for (int i = 0; i < t->graph->parameter_count; i++) {
    const int64_t size = ntk_graph_size(t->graph, t->graph->parameters[i]);
    double *to = t->graph->values[t->graph->parameters[i]].constant->data;
    for (int64_t e = 0; e < size; e++)
      to[e] += step * ((const double *)parts[i])[d * size + e];
  }
  succeed(ntk_net_update(t->net));
}

static void tangents_are_differences(const trial *t, ntk_sweep *sweep,
                                     const void *const *parts, const double *tangents) {
  const int64_t count = t->n * t->s.O;
  const double step = 1e-6;
  double *above = doubles(count), *below = doubles(count);
  for (int64_t d = 0; d < DIRECTIONS; d++) {
    move_parameters(t, parts, d, step);
    forward(t, sweep, 0, t->n, above);
    move_parameters(t, parts, d, -2 * step);
    forward(t, sweep, 0, t->n, below);
    move_parameters(t, parts, d, step);
    for (int64_t i = 0; i < count; i++)
      above[i] = (above[i] - below[i]) / (2 * step);
    assert_true(difference(count, tangents + d * count, above) < 1e-7);
  }
  free(above);
  free(below);
}

/* seed . tangent = cotangent . direction, for every sample, seed and direction. */
static void sweeps_are_adjoint(const trial *t, ntk_sweep *sweep, const void *const *parts,
                               const double *tangents) {
  const int64_t O = t->s.O;
  collected c = collected_make(t, t->n);
  ntk_sweep_backward(sweep, SEEDS, alike(t), false, collect, &c);
  for (int64_t d = 0; d < DIRECTIONS; d++)
    for (int64_t i = 0; i < t->n; i++)
      for (int64_t o = 0; o < SEEDS; o++) {
        double sum = 0;
        for (int k = 0; k < t->graph->parameter_count; k++) {
          const int v = t->graph->parameters[k];
          const int64_t size = ntk_graph_size(t->graph, v);
          assert_true(c.values[v] || !ntk_sweep_is_delivered(sweep, v));
          if (!c.values[v])
            continue; /* nothing comes down to it */
          sum += dot(size, c.values[v] + (i * SEEDS + o) * size,
                     (const double *)parts[k] + d * size);
        }
        near(sum, dot(O, t->seeds + o * O, tangents + (d * t->n + i) * O), 1e-12,
             t->s.name);
      }
  collected_free(&c);
}

static void check_tangents(const trial *t, bool smooth) {
  bool *wanted = all_wanted(t);
  const void **parts = calloc((size_t)t->graph->parameter_count, sizeof *parts);
  double *outputs = doubles(t->n * t->s.O);
  double *tangents = doubles(DIRECTIONS * t->n * t->s.O);
  double *again = doubles(t->s.O);
  assert_non_null(parts);
  double *directions = random_directions(t, parts);
  ntk_sweep *sweep = sweep_make(t, t->n, wanted);
  forward(t, sweep, 0, t->n, outputs);
  ntk_sweep_tangent(sweep, DIRECTIONS, parts, tangents);
  sweeps_are_adjoint(t, sweep, parts, tangents);
  if (smooth)
    tangents_are_differences(t, sweep, parts, tangents);
  /* the last sample and direction 0 alone, in the same sweep */
  forward(t, sweep, t->n - 1, 1, outputs);
  ntk_sweep_tangent(sweep, 1, parts, again);
  assert_true(difference(t->s.O, again, tangents + (t->n - 1) * t->s.O) < 1e-13);
  ntk_sweep_destroy(&sweep);
  free(wanted);
  free(parts);
  free(directions);
  free(outputs);
  free(tangents);
  free(again);
}

/* ---- cotangents ---- */

/* The cotangent of the input against differences along one random direction. */
static void input_cotangents_are_differences(const trial *t, ntk_sweep *sweep,
                                             const double *cotangents) {
  const int64_t count = t->n * t->s.size, O = t->s.O;
  const double step = 1e-6;
  double *x = t->s.samples[0], *dx = doubles(count);
  double *above = doubles(t->n * O), *below = doubles(t->n * O);
  for (int64_t i = 0; i < count; i++) {
    dx[i] = number(9, (uint64_t)i);
    x[i] += step * dx[i];
  }
  forward(t, sweep, 0, t->n, above);
  for (int64_t i = 0; i < count; i++)
    x[i] -= 2 * step * dx[i];
  forward(t, sweep, 0, t->n, below);
  for (int64_t i = 0; i < count; i++)
    x[i] += step * dx[i];
  for (int64_t i = 0; i < t->n * O; i++)
    above[i] = (above[i] - below[i]) / (2 * step);
  for (int64_t i = 0; i < t->n; i++)
    for (int64_t o = 0; o < SEEDS; o++)
      near(dot(t->s.size, cotangents + (i * SEEDS + o) * t->s.size, dx + i * t->s.size),
           dot(O, t->seeds + o * O, above + i * O), 1e-7, "input");
  free(dx);
  free(above);
  free(below);
}

/* Samples 0 .. of a against samples first .. of b; some cotangents are zero but for noise,
 * such as those of the biases of keys. */
static void same_cotangent(const collected *a, const collected *b, int v, int64_t first) {
  const int64_t size = ntk_graph_size(a->t->graph, v);
  assert_non_null(a->values[v]);
  assert_non_null(b->values[v]);
  for (int64_t i = 0; i < a->n * SEEDS * size; i++)
    near(a->values[v][i], b->values[v][first * SEEDS * size + i], 1e-12,
         a->t->graph->values[v].name);
}

/* Each data value and parameter wanted alone: memory is shared differently every time. */
static void wanted_alone(const trial *t, const collected *all) {
  bool *wanted = calloc((size_t)t->graph->value_count, sizeof *wanted);
  double *outputs = doubles(t->n * t->s.O);
  assert_non_null(wanted);
  for (int v = 0; v < t->graph->value_count; v++) {
    if (!all->values[v])
      continue;
    wanted[v] = true;
    collected c = collected_make(t, t->n);
    ntk_sweep *sweep = sweep_make(t, t->n, wanted);
    forward(t, sweep, 0, t->n, outputs);
    ntk_sweep_backward(sweep, SEEDS, alike(t), false, collect, &c);
    same_cotangent(&c, all, v, 0);
    ntk_sweep_destroy(&sweep);
    collected_free(&c);
    wanted[v] = false;
  }
  free(wanted);
  free(outputs);
}

/* Without a forward sweep come exactly the cotangents that are promised to be constant. */
static void constants_need_no_samples(const trial *t, const bool *wanted,
                                      const collected *all) {
  ntk_sweep *sweep = sweep_make(t, 1, wanted);
  collected c = collected_make(t, 1);
  ntk_sweep_backward(sweep, SEEDS, alike(t), true, collect, &c);
  for (int v = 0; v < t->graph->value_count; v++) {
    const bool expected =
        ntk_sweep_is_delivered(sweep, v) && !ntk_sweep_is_per_sample(sweep, v);
    assert_true(expected == (c.values[v] != NULL));
    if (!expected)
      continue;
    assert_true(all->shared[v]);
    for (int64_t i = 0; i < t->n; i++)
      same_cotangent(&c, all, v, i);
  }
  ntk_sweep_destroy(&sweep);
  collected_free(&c);
}

/* Samples with seeds of their own get what each gets alone. */
static void seeds_of_samples(const trial *t, const bool *wanted) {
  const ntk_sweep_limits limits = {.samples = t->n, .cotangents = SEEDS, .own_seeds = true};
  const int64_t O = t->s.O, gap = 3; /* between the seeds of two samples */
  double *seeds = doubles(t->n * (SEEDS * O + gap)), *outputs = doubles(t->n * O);
  ntk_sweep *sweep, *alone = sweep_make(t, 1, wanted);
  collected all = collected_make(t, t->n);
  for (int64_t i = 0; i < t->n * (SEEDS * O + gap); i++)
    seeds[i] = number(78, (uint64_t)i);
  succeed(ntk_sweep_create(t->net, limits, wanted, &sweep));
  forward(t, sweep, 0, t->n, outputs);
  ntk_sweep_backward(sweep, SEEDS, (ntk_seeds){seeds, SEEDS * O + gap}, false, collect,
                     &all);
  for (int64_t i = 0; i < t->n; i++) {
    collected one = collected_make(t, 1);
    forward(t, alone, i, 1, outputs);
    ntk_sweep_backward(alone, SEEDS, (ntk_seeds){.data = seeds + i * (SEEDS * O + gap)},
                       false, collect, &one);
    for (int v = 0; v < t->graph->value_count; v++) {
      assert_true((one.values[v] != NULL) == (all.values[v] != NULL));
      assert_true(!all.values[v] || (!all.shared[v] && ntk_sweep_is_per_sample(sweep, v)));
      if (all.values[v])
        same_cotangent(&one, &all, v, i);
    }
    collected_free(&one);
  }
  ntk_sweep_destroy(&sweep);
  ntk_sweep_destroy(&alone);
  collected_free(&all);
  free(seeds);
  free(outputs);
}

/* Every value that has a cotangent: data and parameters, but no integers or constants. */
static bool *everything_wanted(const trial *t) {
  bool *wanted = all_wanted(t);
  for (int v = 0; v < t->graph->value_count; v++)
    if (t->graph->values[v].role != NTK_CONSTANT)
      wanted[v] = true;
  return wanted;
}

static void check_cotangents(const trial *t, bool smooth) {
  bool *wanted = everything_wanted(t);
  double *outputs = doubles(t->n * t->s.O);
  ntk_sweep *sweep = sweep_make(t, t->n, wanted);
  collected all = collected_make(t, t->n);
  forward(t, sweep, 0, t->n, outputs);
  ntk_sweep_backward(sweep, SEEDS, alike(t), false, collect, &all);
  for (int v = 0; v < t->graph->value_count; v++)
    assert_true(ntk_sweep_is_delivered(sweep, v) == (all.values[v] != NULL));
  for (int64_t i = 0; i < t->n; i++) {
    collected one = collected_make(t, 1);
    forward(t, sweep, i, 1, outputs);
    ntk_sweep_backward(sweep, SEEDS, alike(t), false, collect, &one);
    for (int v = 0; v < t->graph->value_count; v++)
      if (all.values[v])
        same_cotangent(&one, &all, v, i);
    collected_free(&one);
  }
  if (smooth && !t->s.indices)
    input_cotangents_are_differences(t, sweep, all.values[t->graph->inputs[0]]);
  wanted_alone(t, &all);
  constants_need_no_samples(t, wanted, &all);
  seeds_of_samples(t, wanted);
  ntk_sweep_destroy(&sweep);
  collected_free(&all);
  free(outputs);
  free(wanted);
}

/* ---- cases ---- */

static void golden_network(void **state) {
  const char *name = *state;
  trial t = trial_make(subject_golden(context, name));
  const bool smooth = strcmp(name, "ties") != 0;
  forward_agrees_with_torch(&t, name);
  check_tangents(&t, smooth);
  check_cotangents(&t, smooth);
  trial_free(&t);
}

static void generated_networks(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"fcn", "--input 9 --width 12 --depth 2 --outputs 3 --activation gelu"},
      {"fcn", "--input 9 --width 12 --depth 0 --outputs 3 --parameterization ntk"},
      {"cnn", "--input 2x7x6 --width 4 --depth 2 --outputs 3 --activation erf"},
      {"resnet18", "--input 3x8x8 --width 2 --activation tanh"},
      {"vit", "--input 2x6x9 --patch 3 --width 6 --heads 2 --depth 1 --outputs 2"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    trial t = trial_make(subject_generated(context, cases[i][0], cases[i][1], 3, 1));
    check_tangents(&t, true);
    check_cotangents(&t, true);
    trial_free(&t);
  }
}

/* Dense 9-12-3: products forward, and per cotangent that of the head alone, whose D is the
 * seed: it and what it multiplies do not depend on the sample. */
static void flops_are_those_of_the_products(void **state) {
  (void)state;
  const double first = 2 * 9 * 12, head = 2 * 12 * 3, hidden = 12;
  trial t = trial_make(subject_generated(
      context, "fcn", "--input 9 --width 12 --depth 1 --outputs 3", 3, 1));
  bool *wanted = calloc((size_t)t.graph->value_count, sizeof *wanted);
  assert_non_null(wanted);
  wanted[t.graph->nodes[0].outputs[0]] = true; /* D of the first layer */
  ntk_sweep *sweep = sweep_make(&t, 3, wanted);
  const double forward_flops = first + hidden + head;
  assert_true(ntk_net_forward_flops(t.net) == forward_flops);
  assert_true(ntk_sweep_flops(sweep, 5, 0) == 5 * forward_flops);
  assert_true(ntk_sweep_flops(sweep, 5, 2) == 5 * forward_flops + 2 * (head + 5 * hidden));
  ntk_sweep_destroy(&sweep);
  free(wanted);
  trial_free(&t);
}

static void written_network(void **state) {
  trial t = trial_make(subject_written(context, *state, 3, 1));
  check_tangents(&t, true);
  check_cotangents(&t, true);
  trial_free(&t);
}

/* What ntk_sweep_bytes says is what a sweep takes. */
static void promised_bytes_are_taken(void **state) {
  (void)state;
  trial t = trial_make(subject_golden(context, "attention"));
  bool *wanted = all_wanted(&t);
  const ntk_sweep_limits limits = {
      .samples = t.n, .cotangents = SEEDS, .directions = DIRECTIONS};
  const int64_t before = ntk_memory_used(NTK_MEMORY_SWEEP);
  int64_t bytes;
  succeed(ntk_sweep_bytes(t.net, limits, wanted, &bytes));
  ntk_sweep *sweep = sweep_make(&t, t.n, wanted);
  assert_int_equal(ntk_memory_used(NTK_MEMORY_SWEEP) - before, bytes);
  ntk_sweep_destroy(&sweep);
  assert_int_equal(ntk_memory_used(NTK_MEMORY_SWEEP), before);
  free(wanted);
  trial_free(&t);
}

static void nonfinite_is_named(void **state) {
  (void)state;
  trial t = trial_make(subject_golden(context, "fcn"));
  ntk_sweep *sweep = sweep_make(&t, t.n, NULL);
  t.s.samples[0][2 * t.s.size + 1] = NAN;
  const void *inputs = t.s.samples[0];
  assert_int_equal(ntk_sweep_forward(sweep, t.n, &inputs, 40), NTK_ERR_NONFINITE);
  assert_non_null(strstr(ntk_fail_message(), "sample 42:"));
  ntk_sweep_destroy(&sweep);
  ((double *)t.graph->values[t.graph->parameters[1]].constant->data)[3] = INFINITY;
  assert_int_equal(ntk_net_update(t.net), NTK_ERR_NONFINITE);
  assert_non_null(strstr(ntk_fail_message(), "element 3"));
  assert_non_null(strstr(ntk_fail_message(), t.graph->values[t.graph->parameters[1]].name));
  trial_free(&t);
}

/* Pieces in use never overlap, and what is given back is used again. */
static void slots_do_not_overlap(void **state) {
  (void)state;
  enum { PIECES = 40, ROUNDS = 2000 };
  ntk_slots slots = {0};
  int64_t at[PIECES], bytes[PIECES] = {0}, all = 0;
  for (uint64_t r = 0; r < ROUNDS; r++) {
    const int i = (int)(fabs(number(1, r)) * PIECES);
    if (bytes[i] > 0) {
      ntk_slots_give(&slots, at[i]);
      bytes[i] = 0;
      continue;
    }
    bytes[i] = 1 + (int64_t)(fabs(number(2, r)) * 1000);
    all += ntk_slots_round(bytes[i]);
    succeed(ntk_slots_take(&slots, bytes[i], &at[i]));
    assert_true(at[i] % 64 == 0 && at[i] + bytes[i] <= slots.bytes);
    for (int j = 0; j < PIECES; j++)
      assert_true(j == i || bytes[j] == 0 || at[i] + bytes[i] <= at[j] ||
                  at[j] + bytes[j] <= at[i]);
  }
  assert_true(slots.bytes <= PIECES * 1024 * 2 && slots.bytes < all / 10);
  ntk_slots_clear(&slots);
}

int main(int argc, char **argv) {
  struct CMUnitTest tests[GOLDEN + WRITTEN + 4] = {
      cmocka_unit_test(generated_networks), cmocka_unit_test(promised_bytes_are_taken),
      cmocka_unit_test(flops_are_those_of_the_products),
      cmocka_unit_test(nonfinite_is_named), cmocka_unit_test(slots_do_not_overlap)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_SELF, NULL, &context) != NTK_SUCCESS)
    return 1;
  for (int i = 0; i < GOLDEN; i++)
    tests[4 + i] = (struct CMUnitTest){golden[i], golden_network, NULL, NULL,
                                       (void *)(uintptr_t)golden[i]};
  for (int i = 0; i < WRITTEN; i++)
    tests[4 + GOLDEN + i] =
        (struct CMUnitTest){written_networks[i].name, written_network, NULL, NULL,
                            (void *)(uintptr_t)&written_networks[i]};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}
