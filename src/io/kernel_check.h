/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_KERNEL_CHECK_H
#define NTK_IO_KERNEL_CHECK_H

#include "base/context.h"
#include "io/kernel_file.h"

/* What each tile must be; X(name, name in words). The last two are of symmetric kernels
 * that are whole: |K_ij| <= sqrt(K_ii K_jj), and v'Kv >= 0 of random vectors of +-1. */
#define NTK_CHECK_LIST(X)                                                                  \
  X(NTK_CHECK_SUM, "checksums")                                                            \
  X(NTK_CHECK_FINITE, "finite")                                                            \
  X(NTK_CHECK_SYMMETRY, "symmetry")                                                        \
  X(NTK_CHECK_DIAGONAL, "diagonal")                                                        \
  X(NTK_CHECK_MINORS, "minors")
typedef enum ntk_check {
#define NTK_CHECK_ENUM(name, text) name,
  NTK_CHECK_LIST(NTK_CHECK_ENUM)
#undef NTK_CHECK_ENUM
      NTK_CHECKS
} ntk_check;
const char *ntk_check_name(ntk_check check);

typedef struct ntk_kernel_checks {
  int64_t checked;           /* tiles that were read */
  int64_t wrong[NTK_CHECKS]; /* tiles that are not as they must be */
  int64_t first[NTK_CHECKS]; /* the least of their numbers */
  bool is_applied[NTK_CHECKS];
  int forms;         /* random vectors, 0: not applied */
  double least_form; /* of v'Kv / trace */
  double least_diagonal;
} ntk_kernel_checks;

/* How much of rounding a kernel of this type may show. */
double ntk_kernel_rounding(const ntk_kernel_facts *facts);

/* Purpose: read every finished tile once and check it; tiles are dealt to the ranks.
 * Collective; the result is the same on all ranks. Memory: a tile in the file's type, two
 * in f64, 9 bytes for each row of the kernel. Errors: NTK_ERR_HDF5, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_kernel_check(ntk_context *context, const ntk_kernel_file *file,
                                        uint64_t seed, ntk_kernel_checks *out);
/* "3,9": the place of the tile of a number in /tiles. */
enum { NTK_KERNEL_PLACE = 96 };
const char *ntk_kernel_place(const ntk_kernel_file *file, int64_t number,
                             char text[NTK_KERNEL_PLACE]);
/* The number of the tile that has this entry, or its transpose. */
int64_t ntk_kernel_tile_of(const ntk_kernel_file *file, int64_t row, int64_t row_output,
                           int64_t column, int64_t column_output);
/* Names of the kernels of groups beside the whole: the i-th; NULL past the last. To be
 * freed with ntk_free. Local. */
NTK_CHECKED ntk_status ntk_kernel_group(const ntk_kernel_file *file, int i, char **name);

#endif
