/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_PLAN_H
#define SCANTK_PLAN_H

#include <scantk/data.h>
#include <scantk/model.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A plan: everything decided and allocated for one kernel of a model over data. Planning
 * may fail; executing repeats, with the values that parameters and the caller's rows have
 * then. Model and data are borrowed and outlive the plan. */
typedef struct ntk_plan ntk_plan;

typedef enum ntk_reduction {
  NTK_REDUCE_NONE,     /* [N1, O, N2, O] */
  NTK_REDUCE_TRACE,    /* [N1, N2]: mean (or sum) over o of Theta[n,o,m,o] */
  NTK_REDUCE_DIAGONAL, /* [O, N1, N2]: Theta[n,o,m,o] */
  NTK_REDUCE_PSEUDO    /* [N1, N2]: kernel of sum_o f_o / sqrt(O) */
} ntk_reduction;

/* Purpose: plan the kernel of `rows` against `columns` (NULL: the same samples, x2 = x1,
 * whose symmetry is used). Collective. options: text of the table "plan" or NULL. *out is
 * the caller's, written only on success. Where no rates of the machine are cached they are
 * measured (about a second) and cached.
 * Errors: NTK_ERR_SHAPE (data do not fit the model), NTK_ERR_ARGUMENT, NTK_ERR_MEMORY (the
 * cap is below what is needed; the message names the smallest that does), NTK_ERR_FILE and
 * NTK_ERR_FORMAT (files of --plan, --write-plan, --rates), NTK_ERR_NO_PARAMETERS.
 */
NTK_API NTK_CHECKED ntk_status ntk_plan_create(ntk_model *model, ntk_data *rows,
                                               ntk_data *columns, const char *options,
                                               ntk_plan **out);
/* Purpose: the same for going on in the kernel file `path` (or path.part), with the
 * numerical plan that stands in it, on any ranks and grid; where there is no such file, as
 * ntk_plan_create. NTK_ERR_ARGUMENT names what is not that of the file: model, parameters,
 * ranges, outputs, cotangents, reduction, type, algorithm, --block and --plan where given.
 */
NTK_API NTK_CHECKED ntk_status ntk_plan_resume(ntk_model *model, ntk_data *rows,
                                               ntk_data *columns, const char *options,
                                               const char *path, ntk_plan **out);
/* Frees the plan and nulls the handle. Collective, NULL-safe. */
NTK_API void ntk_plan_destroy(ntk_plan **plan);

/* Purpose: what a kernel would cost, on this run's ranks or on others that are not there
 * (--ranks): time by phase, flops, bytes, memory of a rank, size of the file, grid, and
 * warnings; in words or (--json) as JSON. No more is computed than for planning, and no
 * values of the data are read; the model may be one without weights. Collective.
 * options  text of the tables "plan", "output", "machine" and "describe", or NULL.
 * path     of the file that is planned, for its free space; NULL: not known.
 * *text    on all ranks, also with NTK_ERR_MEMORY; to be freed with ntk_text_free.
 * Errors: those of ntk_plan_create; NTK_ERR_MEMORY after all else: it does not fit. */
NTK_API NTK_CHECKED ntk_status ntk_plan_describe(ntk_model *model, ntk_data *rows,
                                                 ntk_data *columns, const char *options,
                                                 const char *path, char **text);

typedef struct ntk_plan_info {
  ntk_reduction reduction;
  int64_t rows, columns;        /* N1, N2 */
  int64_t outputs;              /* O */
  int64_t block, outputs_block; /* B, Q */
  int64_t tiles;                /* to be computed, over all ranks */
  int element_bytes;            /* 4 or 8 */
  bool symmetric;               /* x2 = x1 */
  int grid_rows, grid_columns, grid_depth;
  double minimal_flops; /* ntk_cost_minimal (design section 4) */
} ntk_plan_info;
NTK_API void ntk_plan_get_info(const ntk_plan *plan, ntk_plan_info *info); /* local */

/* Purpose: compute the kernel into an HDF5 file. Collective.
 * path     the file that will exist once every tile is done; OUTPUT.part until then.
 * options  text of the table "output" or NULL; command_line: recorded, may be NULL.
 * With --resume it goes on in OUTPUT or OUTPUT.part, where there is one: that must be of
 * the same plan (ntk_plan_resume) and samples, else NTK_ERR_ARGUMENT names what is not.
 * Errors: NTK_ERR_EXISTS, NTK_ERR_FILE, NTK_ERR_HDF5, NTK_ERR_NONFINITE, NTK_STOPPED. */
NTK_API NTK_CHECKED ntk_status ntk_plan_to_file(ntk_plan *plan, const char *path,
                                                const char *options,
                                                const char *command_line);

/* One tile: rows row_first.. (row_count samples), outputs row_output.. (row_outputs of
 * them), likewise columns. Values are row-major: full [row_count, row_outputs,
 * column_count, column_outputs], trace and pseudo [row_count, column_count], diagonal
 * [row_outputs, row_count, column_count]. */
typedef struct ntk_tile {
  int64_t row_first, row_count, row_output, row_outputs;
  int64_t column_first, column_count, column_output, column_outputs;
} ntk_tile;

/* Called on the rank that owns the tile, on the thread that runs the plan, while others may
 * compute: parallel regions of its own have one thread. `values` are f32 or f64
 * (element_bytes of the plan's info) and the library's: valid during the call. It must call
 * nothing collective. A status other than success ends the run and is returned on all
 * ranks. */
typedef ntk_status (*ntk_tile_fn)(const ntk_tile *tile, const void *values, void *user);

/* Purpose: compute the kernel, handing each tile to `fn` once; for x2 = x1 a tile off the
 * diagonal comes twice, as itself and as its transpose. Collective; may be repeated.
 * Errors: those of `fn`, NTK_ERR_FILE (samples), NTK_ERR_NONFINITE, NTK_STOPPED. */
NTK_API NTK_CHECKED ntk_status ntk_plan_to_tiles(ntk_plan *plan, ntk_tile_fn fn,
                                                 void *user);

/* Purpose: compute the kernel into the caller's distributed matrix, as ScaLAPACK has it:
 * that of the full kernel is (N1 O) x (N2 O), sample n and output o at n O + o; of trace
 * and pseudo N1 x N2. Column-major, block-cyclic in blocks of any size, on any grid of
 * ranks of the context, with any first process. Collective over the context; may be
 * repeated. Elements of `local` that are none of the matrix stay as they are.
 * desc    ScaLAPACK's descriptor; its BLACS context is asked for its grid
 *         (Cblacs_gridinfo). A rank outside the grid has desc[1] = -1; nothing else of its
 *         desc, nor its `local`, is looked at.
 * dtype   of `local`, NTK_F64 or NTK_F32, whatever the plan's: what is computed is
 *         converted. In the plan's type the elements are those of ntk_plan_to_file.
 * local   [columns here][LLD], the caller's.
 * Memory: 8 MiB, or one column of a tile, on each rank. Tiles go by one-sided messages.
 * Errors: NTK_ERR_ARGUMENT (desc; a diagonal or --group, which are no matrix), those of
 * ntk_plan_to_tiles; after NTK_STOPPED and other failures the matrix is incomplete. */
NTK_API NTK_CHECKED ntk_status ntk_plan_to_matrix(ntk_plan *plan, const int desc[9],
                                                  ntk_dtype dtype, void *local);

/* Purpose: the network's outputs on the data, into an HDF5 file (/outputs [N, O], /labels).
 * Collective. options: text of the table "forward" or NULL. *accuracy (may be NULL): share
 * of samples whose largest output is at the label, -1 without class labels.
 * Errors: NTK_ERR_SHAPE, NTK_ERR_ARGUMENT, NTK_ERR_EXISTS, NTK_ERR_FILE, NTK_ERR_HDF5,
 * NTK_ERR_NONFINITE. */
NTK_API NTK_CHECKED ntk_status ntk_forward_to_file(ntk_model *model, ntk_data *data,
                                                   const char *options, const char *path,
                                                   double *accuracy);

#ifdef __cplusplus
}
#endif
#endif
