/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_NPY_H
#define NTK_IO_NPY_H

#include "tensor/tensor.h"

/* The header of numpy.lib.format: magic, version, length of a Python dict in text. Private
 * to src/io; everything is local. */

enum { NTK_NPY_HEADER = 65536 }; /* longer ones are refused */

typedef struct ntk_npy {
  ntk_dtype dtype; /* f32 of f16 too */
  bool is_half, swap, is_fortran;
  ntk_shape shape;
  int64_t start; /* of the elements */
} ntk_npy;

bool ntk_npy_is(const unsigned char *bytes, int64_t count);
/* Bytes of the header, told by the first 12 of them. */
int64_t ntk_npy_bytes(const unsigned char *bytes);
/* From the first `count` bytes; NTK_ERR_FORMAT, NTK_ERR_UNSUPPORTED name `path`. */
NTK_CHECKED ntk_status ntk_npy_read(const char *path, const unsigned char *bytes,
                                    int64_t count, ntk_npy *out);

/* The header of such elements, this machine's, row-major, whose bytes are a multiple of 64:
 * their number. */
int64_t ntk_npy_write(ntk_dtype dtype, const ntk_shape *shape, char text[1024]);

/* Turns the bytes of n elements around. */
void ntk_swap_elements(unsigned char *data, int64_t n, size_t bytes);

#endif
