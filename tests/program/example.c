/* SPDX-License-Identifier: Apache-2.0 */
/* The trace of the kernel of MODEL over DATA, from its tiles:  example MODEL DATA */
#include <scantk/scantk.h>
#include <stdio.h>

static ntk_status add_trace(const ntk_tile *t, const void *values, void *user) {
  const double *v = values;
  const int64_t n = t->row_count * t->row_outputs; /* a tile on the diagonal is square */
  if (t->row_first == t->column_first && t->row_output == t->column_output)
    for (int64_t i = 0; i < n; i++)
      *(double *)user += v[i * n + i];
  return NTK_SUCCESS;
}

int main(int argc, char *argv[]) {
  ntk_context *context = NULL;
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  ntk_plan *plan = NULL;
  double mine = 0, trace = 0;
  int rank;
  if (MPI_Init(&argc, &argv) != MPI_SUCCESS || argc != 3)
    return 2;
  ntk_status status = ntk_context_create(MPI_COMM_WORLD, NULL, &context);
  if (status == NTK_SUCCESS)
    status = ntk_model_read(context, argv[1], NULL, &model);
  if (status == NTK_SUCCESS)
    status = ntk_data_read(context, argv[2], NULL, &data);
  if (status == NTK_SUCCESS)
    status = ntk_plan_create(model, data, NULL, "--dtype f64 --block 8x3", &plan);
  if (status == NTK_SUCCESS)
    status = ntk_plan_to_tiles(plan, add_trace, &mine);
  MPI_Reduce(&mine, &trace, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0 && status == NTK_SUCCESS)
    printf("trace       %.9g\n", trace);
  else if (rank == 0)
    fprintf(stderr, "%s\n", ntk_context_error(context));
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return ntk_status_exit_code(status);
}
