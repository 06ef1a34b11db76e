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

/* Digests (ntk_data_digest) of the samples first .. first + count of a side. */
typedef struct ntk_digest_share {
  int64_t first, count;
  uint64_t (*values)[2]; /* [count] */
} ntk_digest_share;

/* What a kernel file is made from; everything borrowed for the call of create. */
typedef struct ntk_store_spec {
  const char *path; /* OUTPUT; OUTPUT.new and OUTPUT.part on the way */
  ntk_dtype dtype;
  ntk_reduction reduction;
  bool symmetric;
  bool half; /* of a symmetric kernel each pair of tiles stands once, in /half */
  int64_t rows, columns, outputs; /* N1, N2, O of the kernel */
  int64_t network_outputs;        /* columns of /outputs1, /outputs2 */
  bool of_cotangents;             /* the kernel's outputs are the user's cotangents */
  int64_t block, outputs_block;   /* B, Q */
  const int64_t *output_index;    /* [outputs] original output numbers; NULL: 0.. */
  const ntk_data *row_data, *column_data; /* indices, labels; column_data NULL: x2 = x1 */
  int groups; /* kernels of parts of the parameters, each in /groups/NAME as the whole is */
  char *const *group_names; /* [groups] */
  int64_t combined; /* kernels that this one is the mean of, and group "variance" the
                       variance; 0: none */
  bool reserve;     /* take its whole space at once */
  const char *const *hints; /* "name=value" for MPI-IO, of lengths that MPI takes, ended by
                               NULL; NULL: none */
  const char *plan;         /* text of /plan */
  const char *provenance;   /* text of /provenance (JSON) */
  const char *identity;     /* text of /identity: what --resume compares */
  int64_t provenance_room; /* bytes for it at least: it is longer in one run than another */
  ntk_digest_share digests[2]; /* of rows and columns, this rank's share; where symmetric of
                                  the rows alone */
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
/* What a file was found to hold. */
typedef struct ntk_store_state {
  int64_t tiles, done; /* those marked done whose checksums are right */
  int64_t wrong;       /* those marked done whose checksums are not */
} ntk_store_state;
/* Is there a file in which to go on, OUTPUT or OUTPUT.part? Collective. */
NTK_CHECKED ntk_status ntk_store_is_there(ntk_context *context, const char *path,
                                          bool *there);
/* Purpose: go on with OUTPUT.part, or with OUTPUT. Each rank reads a share of the tiles
 * that are marked done and checks them by their checksums; wrong ones are marked as not
 * done, which is warned of. Labels are written anew. A file that is OUTPUT, complete and
 * right is left alone: *out is NULL. That the file is of the same kernel is the caller's to
 * know. Collective; the marks are the same on all ranks. Errors: NTK_ERR_HDF5,
 * NTK_ERR_FILE. */
NTK_CHECKED ntk_status ntk_store_resume(ntk_context *context, const ntk_store_spec *spec,
                                        ntk_store_state *state, ntk_store **out);
int64_t ntk_store_file_bytes(const ntk_store_spec *spec); /* whole chunks counted */
/* Purpose: the exact size of the file, metadata included: lays it out as a temporary file
 * of holes. Local; digests need not be there. Errors: NTK_ERR_FILE (no temporary file of
 * that size), NTK_ERR_HDF5, NTK_ERR_ARGUMENT (tiles too large). Cost: some 10 microseconds
 * a tile. */
NTK_CHECKED ntk_status ntk_store_measure(const ntk_store_spec *spec, int64_t *bytes);

/* Purpose: write one tile (values in the layout of ntk_tile, in the file's dtype) to its
 * chunk, then its checksum and mark. Local: independent I/O by the tile's owner. */
NTK_CHECKED ntk_status ntk_store_write(ntk_store *store, const ntk_tile *tile,
                                       const void *values);
/* The same of a group's kernel. */
NTK_CHECKED ntk_status ntk_store_write_group(ntk_store *store, int group,
                                             const ntk_tile *tile, const void *values);
/* Was the tile done before this run, with those of all groups? Local. */
bool ntk_store_is_done(const ntk_store *store, const ntk_tile *tile);
/* Tiles of the file that are done by now, and all of them. Collective. */
NTK_CHECKED ntk_status ntk_store_count(const ntk_store *store, int64_t *done,
                                       int64_t *tiles);
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
 * closing says. After a wish to stop, obeyed before, the message says how far the file has
 * come. */
NTK_CHECKED ntk_status ntk_store_abandon(ntk_store **store, ntk_status status);

/* Is there a kernel file OUTPUT, or an unfinished OUTPUT.part? Or any file of tiles, in
 * which a run can go on? Local. */
bool ntk_store_is(const char *path);
bool ntk_store_has_tiles(const char *path);
/* Facts of it, for `info`: shape, completeness, trace, symmetry, extreme diagonal entries,
 * provenance. Local. */
NTK_CHECKED ntk_status ntk_store_describe(const char *path, bool json, ntk_text *text);
/* OUTPUT, else OUTPUT.part, else NULL; *found to be freed with ntk_free. Local. */
NTK_CHECKED ntk_status ntk_store_find(const char *path, char **found);
/* Text of /plan, or of another such data set of a kernel file (NTK_ERR_FORMAT where it has
 * none); *text to be freed with ntk_free. Local. */
NTK_CHECKED ntk_status ntk_store_read_plan(const char *path, char **text);
NTK_CHECKED ntk_status ntk_store_read_text(const char *path, const char *name, char **text);

/* "1.10.8": the version of HDF5 in use. Local. */
const char *ntk_store_library(void);

/* /outputs [N, O] and /labels of `forward`. Collective: create on all, write locally. */
NTK_CHECKED ntk_status ntk_forward_store_create(ntk_context *context, const char *path,
                                                const ntk_data *data, int64_t outputs,
                                                ntk_dtype dtype, const char *provenance,
                                                ntk_store **out);

#endif
