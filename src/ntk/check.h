/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_CHECK_H
#define NTK_NTK_CHECK_H

#include "base/text.h"
#include "tensor/tensor.h"

/* Name of the vectors that the kernels use here: "avx512", "avx2", "portable". Local. */
const char *ntk_simd_name(void);

/* Purpose: a product by BLAS and by our kernel of contraction at each width of vectors that
 * the processor has, against a plain loop. Local. `found` gets the names of all with their
 * errors, largest difference by largest element. NTK_ERR_NUMERICAL: an error is larger than
 * rounding explains. */
NTK_CHECKED ntk_status ntk_check_products(ntk_dtype dtype, ntk_text *found);

#endif
