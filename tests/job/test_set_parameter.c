/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 */
#include "io/files.h"
#include "job/plan.h"
#include "job/tile.h"
#include "onnx/builder.h"
#include <math.h>
#include <scantk/apply.h>

/* Parameters that are set under a plan: its kernel is then that of a model which has these
 * values in its file, to the bit. */

enum { SAMPLES = 7, OUTPUTS = 3, SIDE = SAMPLES * OUTPUTS, MOST_OPTIONS = 512 };
enum { ENTRIES = 40 * 40 }; /* of a tensor that the importer does not copy */
static char rates[MOST_OPTIONS];

static ntk_status add_tile(const ntk_tile *t, const void *values, void *user) {
  ntk_tile_add(t, values, OUTPUTS, SIDE, user);
  return NTK_SUCCESS;
}

static ntk_status run(ntk_plan *plan, double matrix[SIDE * SIDE]) {
  memset(matrix, 0, SIDE * SIDE * sizeof *matrix);
  const ntk_status status = ntk_plan_to_tiles(plan, add_tile, matrix);
  assert_int_equal(
      MPI_Allreduce(MPI_IN_PLACE, matrix, SIDE * SIDE, MPI_DOUBLE, MPI_SUM, context->comm),
      MPI_SUCCESS);
  return status;
}

static ntk_plan *make_plan(ntk_model *model, ntk_data *data, const char *options) {
  ntk_plan *plan = NULL;
  char text[2 * MOST_OPTIONS];
  (void)snprintf(text, sizeof text, "--dtype f64 --block 4x2 %s %s", rates, options);
  check_success(ntk_plan_create(model, data, NULL, text, &plan));
  return plan;
}

static ntk_model *read_model(const Onnx__ModelProto *proto) {
  ntk_model *model = NULL;
  size_t size;
  uint8_t *bytes = model_pack(proto, &size);
  check_success(ntk_model_from_memory(context, bytes, size, NULL, &model));
  free(bytes);
  return model;
}

static Onnx__ModelProto *generated(const char *family, const char *options, int seed) {
  char text[MOST_OPTIONS];
  char *bytes = NULL;
  int64_t size;
  (void)snprintf(text, sizeof text, "%s --outputs 3 --seed %d", options, seed);
  check_success(ntk_model_generate(context, family, text, path_of("m.onnx")));
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  check_success(ntk_file_read(path_of("m.onnx"), &bytes, &size));
  Onnx__ModelProto *proto =
      onnx__model_proto__unpack(NULL, (size_t)size, (const uint8_t *)bytes);
  assert_non_null(proto);
  ntk_free(&bytes);
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  if (context->rank == 0)
    assert_int_equal(remove(path_of("m.onnx")), 0);
  return proto;
}

/* All parameters of `from` into `to`; as f64 where `wide`. */
static void set_all(ntk_model *to, const ntk_model *from, bool wide) {
  ntk_parameter_info info;
  for (int i = 0; ntk_model_parameter(from, i, &info); i++) {
    const ntk_tensor *t = from->graph->values[from->graph->parameters[i]].constant;
    const ntk_dtype dtype = wide ? NTK_F64 : t->dtype;
    void *values = malloc((size_t)info.count * sizeof(double));
    assert_non_null(values);
    ntk_convert(t->dtype, t->data, dtype, values, info.count);
    check_success(ntk_model_set_parameter(to, info.name, dtype, info.count,
                                          context->rank == 0 ? values : NULL));
    free(values);
  }
}

/* What applies a plan without tiles: this rank's outputs, and the mean of the diagonal
 * behind them. */
static void apply(ntk_plan *plan, double found[SIDE + 1]) {
  memset(found, 0, (SIDE + 1) * sizeof *found);
  check_success(ntk_plan_row_outputs(plan, found));
  check_success(ntk_plan_mean_diagonal(plan, found + SIDE));
}

/* Of the network with seeds 1 and 2. */
static void check_family(const char *family, const char *options, const ntk_shape *shape,
                         const char *plan_options) {
  double first[SIDE * SIDE], second[SIDE * SIDE], found[SIDE * SIDE], applied[2][SIDE + 1];
  Onnx__ModelProto *protos[2] = {generated(family, options, 1),
                                 generated(family, options, 2)};
  ntk_model *one = read_model(protos[0]), *two = read_model(protos[1]);
  ntk_data *data = NULL;
  check_success(ntk_data_random(context, SAMPLES, shape, &data));
  ntk_plan *plan = make_plan(one, data, plan_options),
           *due = make_plan(two, data, plan_options);
  char digest[33];
  memcpy(digest, one->parameter_digest, sizeof digest);
  check_success(run(plan, first));
  check_success(run(due, second));
  assert_memory_not_equal(first, second, sizeof first);
  apply(plan, applied[0]);
  apply(due, applied[1]);
  assert_memory_not_equal(applied[0], applied[1], sizeof applied[0]);
  set_all(one, two, false);
  apply(plan, applied[0]);
  assert_memory_equal(applied[0], applied[1], sizeof applied[0]);
  check_success(run(plan, found));
  assert_memory_equal(found, second, sizeof found);
  assert_string_equal(one->parameter_digest, two->parameter_digest);
  ntk_plan *after = make_plan(one, data, plan_options);
  check_success(run(after, found));
  assert_memory_equal(found, second, sizeof found);
  ntk_plan_destroy(&after);
  ntk_plan_destroy(&due);
  ntk_model_destroy(&two);
  two = read_model(protos[0]); /* back, in the other type; then again in the first */
  set_all(one, two, true);
  check_success(run(plan, found));
  assert_memory_equal(found, first, sizeof found);
  set_all(one, two, false);
  check_success(run(plan, found));
  assert_memory_equal(found, first, sizeof found);
  assert_string_equal(one->parameter_digest, digest);
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&data);
  ntk_model_destroy(&two);
  ntk_model_destroy(&one);
  for (int i = 0; i < 2; i++)
    model_free(protos[i]);
}

static void families(void **state) {
  (void)state;
  static const ntk_shape vector = {1, {6}}, image = {3, {2, 6, 6}};
  check_family("fcn", "--input 6 --width 8 --depth 2 --parameterization ntk", &vector, "");
  check_family("fcn", "--input 6 --width 8 --depth 2", &vector, "--algorithm jacobian");
  check_family("fcn", "--input 6 --width 8 --depth 2 --activation identity", &vector,
               "--algorithm structured");
  check_family("cnn", "--input 2x6x6 --width 5 --depth 2", &image, "");
  check_family("cnn", "--input 2x6x6 --width 5 --depth 1", &image, "--algorithm ntvp");
}

/* What the ranks of a node share. */
static void large(void **state) {
  (void)state;
  static const ntk_shape vector = {1, {6}};
  check_family("fcn", "--input 6 --width 600 --depth 2", &vector, "--algorithm structured");
}

/* A network that uses u, and v after it was computed with. */
static Onnx__ModelProto *products_new(void) {
  Onnx__ModelProto *model = model_new(17);
  add_entry(model, "scantk.parameters", "[\"u\", \"v\", \"w2\"]");
  add_input(model, "x", "batch 40");
  (void)add_floats(model, "w2", "40 3");
  (void)add_node(model, "MatMul", "x u", "h");
  (void)add_node(model, "Tanh", "h", "t");
  (void)add_node(model, "Mul", "v v", "vv");
  (void)add_node(model, "MatMul", "t vv", "g");
  (void)add_node(model, "MatMul", "g w2", "y");
  add_output(model, "y");
  return model;
}

/* u and v as the exporter merges them. */
static Onnx__ModelProto *merged_new(void) {
  Onnx__ModelProto *model = products_new();
  (void)add_floats(model, "w", "40 40");
  (void)add_node(model, "Identity", "w", "u");
  (void)add_node(model, "Identity", "w", "v");
  return model;
}

/* Tensors of their own; v of these values. */
static Onnx__ModelProto *separate_new(const double *v) {
  Onnx__ModelProto *model = products_new();
  (void)add_floats(model, "u", "40 40");
  Onnx__TensorProto *tensor = add_floats(model, "v", "40 40");
  for (int i = 0; i < ENTRIES; i++)
    ((float *)(void *)tensor->raw_data.data)[i] = (float)v[i];
  return model;
}

static void merged_sources(void **state) {
  (void)state;
  static const ntk_shape vector = {1, {40}};
  double values[ENTRIES], found[SIDE * SIDE], due[SIDE * SIDE];
  for (int i = 0; i < ENTRIES; i++)
    values[i] = (double)(i % 5) / 8 - 0.25;
  Onnx__ModelProto *protos[2] = {merged_new(), separate_new(values)};
  ntk_model *one = read_model(protos[0]), *two = read_model(protos[1]);
  ntk_data *data = NULL;
  check_success(ntk_data_random(context, SAMPLES, &vector, &data));
  ntk_plan *plan = make_plan(one, data, ""), *other = make_plan(two, data, "");
  check_success(ntk_model_set_parameter(one, "v", NTK_F64, ENTRIES, values));
  check_success(run(plan, found));
  check_success(run(other, due));
  for (int i = 0; i < SIDE * SIDE; i++)
    assert_true(fabs(found[i] - due[i]) < 1e-12 * fabs(due[0]));
  ntk_plan_destroy(&plan);
  ntk_plan_destroy(&other);
  ntk_data_destroy(&data);
  ntk_model_destroy(&one);
  ntk_model_destroy(&two);
  for (int i = 0; i < 2; i++)
    model_free(protos[i]);
}

static void refusals(void **state) {
  (void)state;
  static const ntk_shape vector = {1, {6}};
  double values[40] = {0}, before[SIDE * SIDE], after[SIDE * SIDE];
  Onnx__ModelProto *proto = mlp_new();
  add_entry(proto, "scantk.parameters", "[\"w1\", \"b1\", \"w2\"]");
  ntk_model *model = read_model(proto);
  ntk_data *data = NULL;
  check_success(ntk_data_random(context, SAMPLES, &vector, &data));
  ntk_plan *plan = make_plan(model, data, "");
  check_success(run(plan, before));
  const int last = context->rank == context->size - 1;
  check_failure(ntk_model_set_parameter(model, "w3", NTK_F64, 5, values), NTK_ERR_ARGUMENT,
                "no parameter 'w3'");
  check_failure(ntk_model_set_parameter(model, "b2", NTK_F64, 3, values), NTK_ERR_ARGUMENT,
                "'b2' is no parameter (not named by the file)");
  check_failure(ntk_model_set_parameter(model, "b1", NTK_F64, 6, values), NTK_ERR_ARGUMENT,
                "'b1' is [5], not of 6 elements");
  check_failure(ntk_model_set_parameter(model, "b1", last ? NTK_I64 : NTK_F64, 5, values),
                NTK_ERR_ARGUMENT, "must be f32 or f64");
  if (context->size > 1)
    check_failure(ntk_model_set_parameter(model, "b1", last ? NTK_F32 : NTK_F64, 5, values),
                  NTK_ERR_ARGUMENT, "another parameter or type");
  values[4] = NAN;
  check_failure(ntk_model_set_parameter(model, "b1", NTK_F64, 5, values), NTK_ERR_NONFINITE,
                "parameter 'b1': element 4");
  check_success(run(plan, after));
  assert_memory_equal(before, after, sizeof before);
  values[4] = 1e300; /* finite, but not in f32 */
  check_success(ntk_model_set_parameter(model, "b1", NTK_F64, 5, values));
  ntk_plan_destroy(&plan);
  char text[2 * MOST_OPTIONS];
  (void)snprintf(text, sizeof text, "--dtype f32 %s", rates);
  check_failure(ntk_plan_create(model, data, NULL, text, &plan), NTK_ERR_NONFINITE,
                "parameter 'b1': element 4");
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  model_free(proto);
}

int main(int argc, char **argv) {
  static const char text[] = "scantk-rates 1\nsgemm 4e10\ndgemm 2e10\nsgemm_knee 40\n"
                             "dgemm_knee 30\ncopy 8e9\n";
  const struct CMUnitTest tests[] = {cmocka_unit_test(families), cmocka_unit_test(large),
                                     cmocka_unit_test(merged_sources),
                                     cmocka_unit_test(refusals)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  make_folder();
  if (context->rank == 0)
    put_file("rates.txt", text, sizeof text - 1, false);
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
  (void)snprintf(rates, sizeof rates, "--rates %s", path_of("rates.txt"));
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_folder();
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}
