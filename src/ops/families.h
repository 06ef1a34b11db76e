/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_FAMILIES_H
#define NTK_OPS_FAMILIES_H

#include "graph/op.h"

/* Every operator, one row each, in the files of their families; sorted by name. */
#define NTK_OPERATORS(X)                                                                   \
  X(abs)                                                                                   \
  X(add)                                                                                   \
  X(averagepool)                                                                           \
  X(batchnormalization)                                                                    \
  X(cast)                                                                                  \
  X(clip)                                                                                  \
  X(concat)                                                                                \
  X(constant)                                                                              \
  X(constantofshape)                                                                       \
  X(conv)                                                                                  \
  X(div)                                                                                   \
  X(dropout)                                                                               \
  X(elu)                                                                                   \
  X(equal)                                                                                 \
  X(erf)                                                                                   \
  X(exp)                                                                                   \
  X(expand)                                                                                \
  X(flatten)                                                                               \
  X(floor)                                                                                 \
  X(gather)                                                                                \
  X(gemm)                                                                                  \
  X(globalaveragepool)                                                                     \
  X(identity)                                                                              \
  X(leakyrelu)                                                                             \
  X(log)                                                                                   \
  X(logsoftmax)                                                                            \
  X(matmul)                                                                                \
  X(max)                                                                                   \
  X(maxpool)                                                                               \
  X(min)                                                                                   \
  X(mul)                                                                                   \
  X(neg)                                                                                   \
  X(pad)                                                                                   \
  X(pow)                                                                                   \
  X(range)                                                                                 \
  X(reciprocal)                                                                            \
  X(reducemean)                                                                            \
  X(reducesum)                                                                             \
  X(relu)                                                                                  \
  X(reshape)                                                                               \
  X(shape)                                                                                 \
  X(sigmoid)                                                                               \
  X(slice)                                                                                 \
  X(softmax)                                                                               \
  X(softplus)                                                                              \
  X(split)                                                                                 \
  X(sqrt)                                                                                  \
  X(squeeze)                                                                               \
  X(sub)                                                                                   \
  X(tanh)                                                                                  \
  X(transpose)                                                                             \
  X(unsqueeze)                                                                             \
  X(where)

#define NTK_OPERATOR_ROW(name) extern const ntk_op ntk_op_##name;
NTK_OPERATORS(NTK_OPERATOR_ROW)
#undef NTK_OPERATOR_ROW

#endif
