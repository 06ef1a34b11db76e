/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_STORE_PARTS_H
#define NTK_IO_STORE_PARTS_H

#include "io/h5.h"
#include "io/store.h"

/* How a kernel lies in /kernel: the axes of each reduction. Private to src/io. */
enum { NTK_STORE_AXES = 4 };
typedef struct ntk_store_layout {
  int ndim;
  const char *axis[NTK_STORE_AXES]; /* its scale: sample1, output1, sample2, output2 */
  int64_t dim[NTK_STORE_AXES];
  int64_t chunk[NTK_STORE_AXES]; /* of a tile */
  int64_t tiles[NTK_STORE_AXES]; /* along each axis */
} ntk_store_layout;

struct ntk_store {
  ntk_context *context; /* borrowed */
  char *path, *fresh, *part;
  ntk_store_layout layout; /* ndim 0: outputs only */
  ntk_dtype dtype;
  int64_t outputs; /* columns of /outputs1, /outputs2 */
  hid_t file, kernel, done, checksum, outputs_of[2];
  int64_t written; /* tiles, or rows of outputs, by this rank */
};

ntk_store_layout ntk_store_layout_of(const ntk_store_spec *spec);
/* The box of /kernel that a tile fills. */
void ntk_store_box(const ntk_store_layout *layout, const ntk_tile *tile,
                   int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]);

/* Everything that is in a kernel file before its first tile, into a new file, closed again.
 * Called by rank 0 alone. */
NTK_CHECKED ntk_status ntk_store_lay_out(const char *path, const ntk_store_spec *spec);

#endif
