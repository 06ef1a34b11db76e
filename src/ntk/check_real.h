/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_CHECK_REAL_H
#define NTK_NTK_CHECK_REAL_H

/* A product of fixed size by one way of making it, 0: BLAS, 1, 2, ...: our kernel at each
 * width, the widest first. *error: largest difference from a plain loop by largest element.
 * The name of the way, NULL: there is none of this number. `buffers` hold
 * NTK_CHECK_ELEMENTS reals. Local. */
enum { NTK_CHECK_ELEMENTS = 200000 };
const char *ntk_check_product_f32(int way, void *buffers, double *error);
const char *ntk_check_product_f64(int way, void *buffers, double *error);

/* Of the kernels in use. */
const char *ntk_micro_name_f32(void);

#endif
