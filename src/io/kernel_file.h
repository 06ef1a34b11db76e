/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_KERNEL_FILE_H
#define NTK_IO_KERNEL_FILE_H

#include "base/status.h"
#include "tensor/tensor.h"
#include <scantk/plan.h>
#include <stdbool.h>
#include <stdint.h>

/* A kernel file to read from: OUTPUT, or OUTPUT.part. However it is stored, callers see the
 * whole kernel. All calls are local: any rank opens it for itself. */
typedef struct ntk_kernel_file ntk_kernel_file;

typedef struct ntk_kernel_facts {
  const char *path;  /* of what was opened */
  const char *group; /* whose kernel it is; NULL: the whole */
  ntk_dtype dtype;
  ntk_reduction reduction;
  bool symmetric, complete, half;
  int64_t rows, columns, outputs; /* N1, N2, O of the kernel */
  int64_t network_outputs;        /* columns of /outputs1, /outputs2 */
  int64_t block, part;            /* samples and outputs of a tile: B, Q */
  int64_t tiles, done;            /* those of the file, and those finished */
  /* The kernel as matrices over (sample, output): one, or one for each output of a diagonal
   * kernel. */
  int64_t matrices, per_sample; /* per_sample: O of a full kernel, else 1 */
} ntk_kernel_facts;

/* Purpose: open the kernel of `path`, or that of a group (NULL: the whole). *out: owned by
 * the caller. Errors: NTK_ERR_FILE, NTK_ERR_FORMAT (no kernel file, no such group),
 * NTK_ERR_HDF5. */
NTK_CHECKED ntk_status ntk_kernel_open(const char *path, const char *group,
                                       ntk_kernel_file **out);
void ntk_kernel_close(ntk_kernel_file **file);
const ntk_kernel_facts *ntk_kernel_get_facts(const ntk_kernel_file *file);
/* NTK_ERR_FILE where tiles are missing: how many, and how to finish them. */
NTK_CHECKED ntk_status ntk_kernel_require_complete(const ntk_kernel_file *file);

/* Purpose: the entries of a box of samples and outputs, in the layout of ntk_tile (trace
 * and pseudo kernels: no outputs; diagonal ones: row_output alone counts), in f64. Boxes of
 * whole tiles cost least. */
NTK_CHECKED ntk_status ntk_kernel_read(const ntk_kernel_file *file, const ntk_tile *box,
                                       double *values);
/* The tile of a number, 0 .. ntk_kernel_boxes - 1: those that have to be read to know the
 * kernel; of a symmetric one each pair of tiles once, so that a tile off the diagonal
 * stands for its transpose, too. */
int64_t ntk_kernel_boxes(const ntk_kernel_file *file);
ntk_tile ntk_kernel_box(const ntk_kernel_file *file, int64_t number);
/* A box as `planes` matrices [rows, columns], one behind the other; the first is matrix
 * `plane` of the kernel. */
typedef struct ntk_kernel_view {
  int64_t plane, planes, rows, columns;
  int64_t first[2], output[2], outputs[2], per_sample; /* of rows and of columns */
} ntk_kernel_view;
ntk_kernel_view ntk_kernel_view_of(const ntk_kernel_facts *facts, const ntk_tile *box);
/* Row i (side 0) or column i (side 1) of the box in the whole matrix. */
static inline int64_t ntk_kernel_index(const ntk_kernel_view *v, int side, int64_t i) {
  return v->first[side] + i / v->outputs[side] * v->per_sample + v->output[side] +
         i % v->outputs[side];
}
/* The box on the other side of the diagonal; is it the same one? */
ntk_tile ntk_kernel_transpose(const ntk_tile *box);
bool ntk_kernel_is_diagonal(const ntk_tile *box);
/* Elements of the largest tile. */
int64_t ntk_kernel_most(const ntk_kernel_facts *facts);
/* Elements of a box. */
int64_t ntk_kernel_box_size(const ntk_kernel_facts *facts, const ntk_tile *box);

/* Rows first .. first + count of what stands beside the kernel, by side 0 (rows) or 1
 * (columns): "outputs" [count, O], "labels" ([count] class numbers or [count, ...] targets)
 * as f64; "sample" and "output" (count of the scale) as i64; "digest" [count, 2] as u64. */
NTK_CHECKED ntk_status ntk_kernel_read_side(const ntk_kernel_file *file, const char *name,
                                            int side, int64_t first, int64_t count,
                                            ntk_dtype dtype, void *values);
/* Shape of that data set; ndim 0 where there is none. */
NTK_CHECKED ntk_status ntk_kernel_side_shape(const ntk_kernel_file *file, const char *name,
                                             int side, ntk_shape *shape);
/* Type of its elements; as it was where there is none. */
NTK_CHECKED ntk_status ntk_kernel_side_dtype(const ntk_kernel_file *file, const char *name,
                                             int side, ntk_dtype *dtype);
/* An attribute of one number of the file; false where it is not there. */
bool ntk_kernel_number(const ntk_kernel_file *file, const char *name, double *value);

#endif
