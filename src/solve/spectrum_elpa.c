/* SPDX-License-Identifier: Apache-2.0 */
/* ELPA, where the build has found it (SCANTK_ELPA). */
#include "dist/grid.h"
#include "solve/spectrum_parts.h"

#ifdef SCANTK_ELPA
#include <elpa/elpa.h>

/* The interface that is written for. */
enum { ELPA_INTERFACE = 20171201 };

bool ntk_elpa_is_there(void) { return true; }

static int describe(elpa_t elpa, const ntk_matrix *m) {
  const struct {
    const char *name;
    int value;
  } settings[] = {{"na", m->rows},
                  {"nev", m->rows},
                  {"local_nrows", m->desc[8]},
                  {"local_ncols", m->local_columns},
                  {"nblk", m->nb},
                  {"mpi_comm_parent", (int)MPI_Comm_c2f(m->grid->comm)},
                  {"process_row", m->grid->my_row},
                  {"process_col", m->grid->my_column}};
  int error = ELPA_OK;
  for (size_t i = 0; i < sizeof settings / sizeof *settings && error == ELPA_OK; i++)
    elpa_set_integer(elpa, settings[i].name, settings[i].value, &error);
  return error == ELPA_OK ? elpa_setup(elpa) : error;
}

/* On the ranks of the grid, whose row and column communicators it makes and frees. */
static int decompose(const ntk_matrix *m, double *values, ntk_matrix *vectors) {
  int error = elpa_init(ELPA_INTERFACE), ignored;
  if (error != ELPA_OK)
    return error;
  elpa_t elpa = elpa_allocate(&error);
  if (error != ELPA_OK)
    return error;
  error = describe(elpa, m);
  if (error == ELPA_OK)
    elpa_set_integer(elpa, "solver", ELPA_SOLVER_2STAGE, &error);
  if (error == ELPA_OK && vectors)
    elpa_eigenvectors_a_h_a_d(elpa, m->values, values, vectors->values, &error);
  else if (error == ELPA_OK)
    elpa_eigenvalues_a_h_a_d(elpa, m->values, values, &error);
  elpa_deallocate(elpa, &ignored);
  return error;
}

ntk_status ntk_elpa_decompose(ntk_context *context, const ntk_matrix *matrix,
                              double *values, ntk_matrix *vectors) {
  ntk_status status = NTK_SUCCESS;
  int error = ELPA_OK;
  if (matrix->grid->my_row >= 0)
    error = decompose(matrix, values, vectors);
  if (error != ELPA_OK)
    status = ntk_fail(NTK_ERR_NUMERICAL, "ELPA: %s; --eigensolver scalapack does without",
                      elpa_strerr(error));
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_bcast(values, (int64_t)matrix->rows * 8, 0, context->comm));
done:
  return status;
}

#else

bool ntk_elpa_is_there(void) { return false; }

ntk_status ntk_elpa_decompose(ntk_context *context, const ntk_matrix *matrix,
                              double *values, ntk_matrix *vectors) {
  (void)context;
  (void)matrix;
  (void)values;
  (void)vectors;
  return ntk_fail(NTK_ERR_INTERNAL, "this build has no ELPA");
}

#endif
