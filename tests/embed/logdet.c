/* SPDX-License-Identifier: Apache-2.0 */
/* log det of the kernel of MODEL over rows that the ranks make, by ScaLAPACK:  logdet MODEL
 */
#include <math.h>
#include <scantk/scantk.h>
#include <stdio.h>
#include <stdlib.h>

void Cblacs_get(int context, int what, int *value);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);
int numroc_(const int *n, const int *nb, const int *process, const int *first,
            const int *processes);
void descinit_(int *desc, const int *m, const int *n, const int *mb, const int *nb,
               const int *first_row, const int *first_column, const int *context,
               const int *leading, int *info);
void pdpotrf_(const char *uplo, const int *n, double *a, const int *ia, const int *ja,
              const int *desc, int *info);

enum { ROWS = 10, INPUTS = 12 }; /* of each rank */

/* Sum of the logarithms of the diagonal's elements that stand here, twice. */
static double add_diagonal(const double *a, int n, int nb, int leading, const int *grid) {
  double sum = 0;
  for (int i = 0; i < n; i++) {
    const int block = i / nb, row = block / grid[0] * nb + i % nb,
              column = block / grid[1] * nb + i % nb;
    if (block % grid[0] == grid[2] && block % grid[1] == grid[3])
      sum += 2 * log(a[(size_t)column * (size_t)leading + (size_t)row]);
  }
  return sum;
}

static void check(ntk_status status, const char *message) {
  if (status == NTK_SUCCESS)
    return;
  fprintf(stderr, "%s\n", message);
  MPI_Abort(MPI_COMM_WORLD, ntk_status_exit_code(status));
}
#define CHECK(call) check((call), ntk_context_error(NULL))

int main(int argc, char *argv[]) {
  const int64_t shape[1] = {INPUTS};
  const int nb = 16, zero = 0, one = 1;
  int rank, size, blacs, grid[4], n, leading, desc[9], info;
  double rows[ROWS][INPUTS], mine, sum;
  ntk_context *context = NULL;
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  ntk_plan *plan = NULL;
  ntk_plan_info facts;
  if (MPI_Init(&argc, &argv) != MPI_SUCCESS || argc != 2)
    return 2;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int i = 0; i < ROWS; i++)
    for (int k = 0; k < INPUTS; k++)
      rows[i][k] = sin((rank * ROWS + i) * INPUTS + k);

  CHECK(ntk_context_create(MPI_COMM_WORLD, NULL, &context));
  CHECK(ntk_model_read(context, argv[1], NULL, &model));
  CHECK(ntk_data_from_rows(context, ROWS, NTK_F64, 1, shape, rows, &data));
  CHECK(ntk_plan_create(model, data, NULL, "--dtype f64", &plan));
  ntk_plan_get_info(plan, &facts);
  n = (int)(facts.rows * facts.outputs);

  Cblacs_get(0, 0, &blacs);
  Cblacs_gridinit(&blacs, "R", size, 1);
  Cblacs_gridinfo(blacs, &grid[0], &grid[1], &grid[2], &grid[3]);
  leading = numroc_(&n, &nb, &grid[2], &zero, &grid[0]);
  leading = leading > 1 ? leading : 1;
  double *a = malloc((size_t)leading * (size_t)n * sizeof *a);
  descinit_(desc, &n, &n, &nb, &nb, &zero, &zero, &blacs, &leading, &info);
  CHECK(ntk_plan_to_matrix(plan, desc, NTK_F64, a));
  pdpotrf_("L", &n, a, &one, &one, desc, &info);

  mine = add_diagonal(a, n, nb, leading, grid);
  MPI_Reduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0)
    printf("%d x %d, info %d, log det %.6f\n", n, n, info, sum);
  free(a);
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  ntk_context_destroy(&context);
  MPI_Finalize();
  return 0;
}
