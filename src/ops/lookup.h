/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_LOOKUP_H
#define NTK_OPS_LOOKUP_H

#include "graph/op.h"

/* Gather whose indices depend on the sample: y[outer, count, inner] are rows of the table
 * [outer, rows, inner] (of one for all samples: an embedding). Indices are numbers of the
 * kernels' type; what stands behind the point is cut off. */
typedef struct ntk_lookup {
  int64_t outer, rows, inner, count;
  bool each;   /* GatherElements: every element of the result has an index of its own */
  bool labels; /* none is counted from the end */
} ntk_lookup;
/* The rows that such nodes get from Gather's, GatherElements' and GatherLabels' own. */
extern const ntk_op ntk_op_lookup, ntk_op_lookup_elements, ntk_op_lookup_labels;
extern const ntk_kernels ntk_lookup_kernels_f32, ntk_lookup_kernels_f64;

/* OneHot: y[outer, depth, inner] is `on` where the index [outer, inner] is the place on the
 * middle axis, else `off`. */
typedef struct ntk_one_hot {
  int64_t outer, depth, inner;
  double on, off;
} ntk_one_hot;
extern const ntk_kernels ntk_one_hot_kernels_f32, ntk_one_hot_kernels_f64;

#endif
