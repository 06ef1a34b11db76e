/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_ROWS_H
#define NTK_IO_ROWS_H

#include "base/context.h"
#include "tensor/tensor.h"

/* Files of real arrays that are small beside a kernel (coefficients, predictions), whose
 * samples the ranks share. Rank 0 writes them, a share at a time. */

/* [vectors, rows, outputs]; vectors 0: [rows, outputs]. */
typedef struct ntk_rows {
  const char *name;
  int64_t vectors, rows, outputs;
  int64_t first, count; /* rows of this rank */
  const double *values; /* [vectors, count, outputs] */
} ntk_rows;

typedef struct ntk_list {
  const char *name;
  int64_t count;
  const double *values; /* rank 0's are written */
} ntk_list;

typedef struct ntk_note {
  const char *name, *text; /* rank 0's are written */
} ntk_note;

typedef struct ntk_rows_spec {
  const char *format; /* attribute of the file */
  const char *signal; /* what viewers plot, against /ridge: [vectors, ...]; NULL: nothing */
  int row_count, list_count, note_count;
  const ntk_rows *rows;
  const ntk_list *lists;
  const ntk_note *notes;
} ntk_rows_spec;

/* Purpose: write a file: PATH.new, renamed once it is complete, over an old PATH. Whether
 * there may be one is the caller's to know. Collective. Errors: NTK_ERR_FILE, NTK_ERR_HDF5,
 * NTK_ERR_MEMORY (rank 0 takes the largest share once more). */
NTK_CHECKED ntk_status ntk_rows_write(ntk_context *context, const char *path,
                                      const ntk_rows_spec *spec);

/* Shape of an array of a file, and the rows first .. first + count (of the last axis but
 * one: two axes at least), [..., count, outputs], or with count 0 all of any array. Local;
 * any rank may read. NTK_ERR_FILE, NTK_ERR_FORMAT (no such array), NTK_ERR_HDF5. */
NTK_CHECKED ntk_status ntk_rows_shape(const char *path, const char *name, ntk_shape *shape);
NTK_CHECKED ntk_status ntk_rows_read(const char *path, const char *name, int64_t first,
                                     int64_t count, double *values);

#endif
