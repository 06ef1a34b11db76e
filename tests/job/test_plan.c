/* SPDX-License-Identifier: Apache-2.0 */
/* ranks: 1 2 3 */
#include "io/files.h"
#include "job/plan.h"
#include <omp.h>

/* Plans of a small network: what must be alike on all ranks, what does not fit. */

enum { SAMPLES = 200, INPUTS = 6, OUTPUTS = 3 };
static ntk_model *model;
static ntk_data *data;

static void write_inputs(void) {
  static const char rates[] = "scantk-rates 1\nsgemm 4e10\ndgemm 2e10\nsgemm_knee 40\n"
                              "dgemm_knee 30\ncopy 8e9\n";
  static unsigned char bytes[512 + SAMPLES * INPUTS * 8];
  size_t size = encode_npy_header(1, "'<f8'", "(200, 6)", "False", bytes);
  size += encode_values(NTK_F64, false, SAMPLES * INPUTS, bytes + size);
  put_file("data.npy", bytes, size, false);
  put_file("rates.txt", rates, sizeof rates - 1, false);
}

/* Collective; "--rates" keeps it from measuring. */
static ntk_status make_plan(const char *options, ntk_plan **plan) {
  char text[1024];
  (void)snprintf(text, sizeof text, "--rates %s --algorithm structured %s",
                 path_of("rates.txt"), options);
  return ntk_plan_create(model, data, NULL, text, plan);
}

typedef struct sums {
  double elements, values;
  int threads; /* that tiles are made with here */
} sums;

static ntk_status add_tile(const ntk_tile *t, const void *values, void *user) {
  sums *s = user;
  const int64_t count = t->row_count * t->row_outputs * t->column_count * t->column_outputs;
  for (int64_t i = 0; i < count; i++)
    s->values += (double)((const float *)values)[i] * (1 + (double)(i % 7));
  s->elements += (double)count;
  s->threads = omp_get_max_threads();
  return NTK_SUCCESS;
}

/* Runs a plan of a full kernel, all of which must come. */
static sums run(ntk_plan *plan) {
  sums s = {0};
  check_success(ntk_plan_to_tiles(plan, add_tile, &s));
  assert_int_equal(MPI_Allreduce(MPI_IN_PLACE, &s, 2, MPI_DOUBLE, MPI_SUM, context->comm),
                   MPI_SUCCESS);
  assert_true(s.elements == (double)SAMPLES * OUTPUTS * SAMPLES * OUTPUTS);
  return s;
}

/* One rank holds more memory than the others: fewer row blocks fit there. */
static void ranks_walk_the_same_panels(void **state) {
  (void)state;
  char options[64];
  ntk_plan *plan = NULL;
  void *more = NULL;
  check_success(make_plan("--block 8x3 --memory 4G", &plan));
  const int64_t all = plan->layout.panel, unit = plan->memory.panel / all;
  int64_t bytes = ntk_memory_terms_total(&plan->memory), least, most;
  assert_int_equal(
      MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_INT64_T, MPI_MAX, context->comm),
      MPI_SUCCESS);
  ntk_plan_destroy(&plan);
  if (context->rank == context->size - 1)
    check_success(ntk_malloc(NTK_MEMORY_GENERAL, 3 * unit, 1, &more));
  (void)snprintf(options, sizeof options, "--block 8x3 --memory %lld", (long long)bytes);
  check_success(make_plan(options, &plan));
  least = most = plan->layout.panel;
  assert_int_equal(
      MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_INT64_T, MPI_MIN, context->comm),
      MPI_SUCCESS);
  assert_int_equal(
      MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, context->comm),
      MPI_SUCCESS);
  assert_true(least == most && most < all);
  assert_true(plan->memory.panel == most * unit);
  (void)run(plan);
  ntk_plan_destroy(&plan);
  ntk_free(&more);
}

static void threads_are_those_of_the_plan(void **state) {
  (void)state;
  ntk_plan *plan = NULL;
  omp_set_num_threads(1);
  check_success(make_plan("--block 200x3", &plan));
  const sums one = run(plan);
  omp_set_num_threads(4);
  const sums four = run(plan);
  assert_int_equal(omp_get_max_threads(), 4);
  assert_true(context->rank > 0 || four.threads == 1);
  assert_true(one.values == four.values);
  omp_set_num_threads(1);
  ntk_plan_destroy(&plan);
}

static void blocks_may_exceed_the_data(void **state) {
  (void)state;
  static const char *const options[] = {"--block 201x4",
                                        "--block 9223372036854775807x9223372036854775807"};
  for (int i = 0; i < 2; i++) {
    ntk_plan *plan = NULL;
    ntk_plan_info info;
    check_success(make_plan(options[i], &plan));
    ntk_plan_get_info(plan, &info);
    assert_true(info.tiles == 1 && info.outputs_block == OUTPUTS);
    (void)run(plan);
    ntk_plan_destroy(&plan);
  }
}

/* The same plan with the order of its first group exchanged; on rank 0. */
static void change_order(const char *order) {
  char *text = NULL, changed[4096];
  int64_t size;
  check_success(ntk_file_read(path_of("plan.txt"), &text, &size));
  const char *at = strstr(text, "\norder ");
  assert_non_null(at);
  at += strlen("\norder ");
  const int length = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text,
                              order, strchr(at, ' '));
  put_file("changed.txt", changed, (size_t)length, false);
  ntk_free(&text);
}

static void orders_must_suit(void **state) {
  (void)state;
  static const char *const orders[] = {"constant", "left-to-right"};
  char options[512];
  ntk_plan *plan = NULL;
  (void)snprintf(options, sizeof options, "--reduce trace --write-plan %s",
                 path_of("plan.txt"));
  check_success(make_plan(options, &plan));
  ntk_plan_destroy(&plan);
  for (int i = 0; i < 2; i++) {
    if (context->rank == 0)
      change_order(orders[i]);
    (void)snprintf(options, sizeof options, "--plan %s", path_of("changed.txt"));
    check_failure(make_plan(options, &plan), NTK_ERR_ARGUMENT, orders[i]);
    assert_null(plan);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_walk_the_same_panels),
                                     cmocka_unit_test(threads_are_those_of_the_plan),
                                     cmocka_unit_test(blocks_may_exceed_the_data),
                                     cmocka_unit_test(orders_must_suit)};
  MPI_Init(&argc, &argv);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  make_folder();
  if (context->rank == 0)
    write_inputs();
  check_success(ntk_model_generate(
      context, "fcn", "--input 6 --width 64 --depth 1 --outputs 3", path_of("model.onnx")));
  check_success(ntk_model_read(context, path_of("model.onnx"), NULL, &model));
  check_success(ntk_data_read(context, path_of("data.npy"), NULL, &data));
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  remove_folder();
  ntk_context_destroy(&context);
  MPI_Finalize();
  return failed;
}
