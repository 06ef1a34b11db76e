/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_STORE_H
#define NTK_IO_STORE_H

#include "base/context.h"
#include "base/text.h"
#include "io/data.h"
#include "tensor/tensor.h"
#include <scantk/plan.h>

/* The kernel file (interface section 2). */
typedef struct ntk_store ntk_store;

/* What a kernel file is made from; everything borrowed for the call of create. */
typedef struct ntk_store_spec {
  const char *path; /* OUTPUT; OUTPUT.new and OUTPUT.part on the way */
  ntk_dtype dtype;
  ntk_reduction reduction;
  bool symmetric;
  int64_t rows, columns, outputs; /* N1, N2, O of the kernel */
  int64_t network_outputs;        /* columns of /outputs1, /outputs2 */
  bool of_cotangents;             /* the kernel's outputs are the user's cotangents */
  int64_t block, outputs_block;   /* B, Q */
  const int64_t *output_index;    /* [outputs] original output numbers; NULL: 0.. */
  const ntk_data *row_data, *column_data; /* indices, labels; column_data NULL: x2 = x1 */
  const char *plan;                       /* text of /plan */
  const char *provenance;                 /* text of /provenance (JSON) */
  const uint64_t (*row_digest)[2];        /* [rows], on rank 0 */
  const uint64_t (*column_digest)[2];     /* [columns], on rank 0; NULL where symmetric */
} ntk_store_spec;

/* Purpose: create OUTPUT.new with everything in it, flush once, rename to OUTPUT.part.
 * Collective over the context. Errors: NTK_ERR_EXISTS (OUTPUT or OUTPUT.part is there),
 * NTK_ERR_FILE (folder not writable, too little space), NTK_ERR_HDF5. */
NTK_CHECKED ntk_status ntk_store_create(ntk_context *context, const ntk_store_spec *spec,
                                        ntk_store **out);
/* Would create refuse at once? (existing output, folder not writable, space). Collective;
 * called before any work. */
NTK_CHECKED ntk_status ntk_store_check(ntk_context *context, const char *path,
                                       int64_t file_bytes);
int64_t ntk_store_file_bytes(const ntk_store_spec *spec); /* whole chunks counted */

/* Purpose: write one tile (values in the layout of ntk_tile, in the file's dtype) to its
 * chunk, then its checksum and mark. Local: independent I/O by the tile's owner. */
NTK_CHECKED ntk_status ntk_store_write(ntk_store *store, const ntk_tile *tile,
                                       const void *values);
/* Purpose: rows first .. first + count of /outputs1 (side 0) or /outputs2 (side 1), [count,
 * O] in f64. Local. */
NTK_CHECKED ntk_status ntk_store_write_outputs(ntk_store *store, int side, int64_t first,
                                               int64_t count, const double *values);
/* What is known only at the end; the same on all ranks. */
typedef struct ntk_store_facts {
  double seconds;     /* of the job */
  double gflops;      /* minimal flops by seconds of contraction */
  double gemm_gflops; /* of all ranks, measured in the same run */
} ntk_store_facts;

/* Purpose: close. complete: notes the facts (may be NULL), sets the attribute and renames
 * to OUTPUT; else OUTPUT.part stays (nothing is left where nothing was ever written).
 * Collective; frees the handle, also on failure. NULL-safe. */
NTK_CHECKED ntk_status ntk_store_close(ntk_store **store, bool complete,
                                       const ntk_store_facts *facts);
/* The same after a failure: not complete; returns `status` with its message, whatever
 * closing says. */
NTK_CHECKED ntk_status ntk_store_abandon(ntk_store **store, ntk_status status);

/* Is there a kernel file OUTPUT, or an unfinished OUTPUT.part? Local. */
bool ntk_store_is(const char *path);
/* Facts of it, for `info`: shape, completeness, trace, symmetry, extreme diagonal entries,
 * provenance. Local. */
NTK_CHECKED ntk_status ntk_store_describe(const char *path, bool json, ntk_text *text);
/* Text of /plan of a kernel file; *text to be freed with ntk_free. Local. */
NTK_CHECKED ntk_status ntk_store_read_plan(const char *path, char **text);

/* "1.10.8": the version of HDF5 in use. Local. */
const char *ntk_store_library(void);

/* /outputs [N, O] and /labels of `forward`. Collective: create on all, write locally. */
NTK_CHECKED ntk_status ntk_forward_store_create(ntk_context *context, const char *path,
                                                const ntk_data *data, int64_t outputs,
                                                ntk_dtype dtype, const char *provenance,
                                                ntk_store **out);

#endif
