/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OPS_HEAVY_CASES_H
#define TESTS_OPS_HEAVY_CASES_H

#include "ops/heavy.h"

extern const ntk_op ntk_op_gemm, ntk_op_matmul, ntk_op_conv, ntk_op_maxpool,
    ntk_op_averagepool, ntk_op_globalaveragepool, ntk_op_batchnormalization;

#define S(...)                                                                             \
  {                                                                                        \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), { __VA_ARGS__ }             \
  }
#define NONE                                                                               \
  {                                                                                        \
    -1, {                                                                                  \
      0                                                                                    \
    }                                                                                      \
  }

static const heavy_case cases[] = {
    {&ntk_op_gemm, "", {S(1, 5), S(5, 3), S(3)}, 3},
    {&ntk_op_gemm, "transB=1", {S(1, 5), S(3, 5), S(3)}, 3},
    {&ntk_op_gemm, "alpha=0.5 beta=-2.0 transA=1", {S(5, 4), S(5, 3), S(4, 3)}, 3},
    {&ntk_op_gemm, "transA=1 transB=1 alpha=-1.5", {S(5, 4), S(3, 5), S(4, 1)}, 3},
    {&ntk_op_gemm, "transB=1 beta=0.25", {S(4, 5), S(3, 5), S(1)}, 3},
    {&ntk_op_gemm, "", {S(4, 5), S(5, 3), NONE}, 3},
    {&ntk_op_gemm, "transA=1", {S(5, 1), S(5, 3)}, 2},
    {&ntk_op_gemm, "", {S(7, 70), S(70, 65), S(1, 65)}, 3},
    {&ntk_op_gemm, "transB=1", {S(4, 5), S(1, 5), S(1)}, 3},
    {&ntk_op_matmul, "", {S(1, 5), S(5, 3)}, 2},
    {&ntk_op_matmul, "", {S(1, 4, 5), S(5, 3)}, 2},
    {&ntk_op_matmul, "", {S(1, 2, 3, 4, 5), S(5, 3)}, 2},
    {&ntk_op_matmul, "", {S(4, 5), S(1, 5, 3)}, 2},
    {&ntk_op_matmul, "", {S(4, 5), S(2, 3, 5, 6)}, 2},
    {&ntk_op_matmul, "", {S(1, 2, 4, 5), S(1, 2, 5, 3)}, 2},
    {&ntk_op_matmul, "", {S(1, 2, 1, 4, 5), S(3, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(1, 1, 4, 5), S(3, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(2, 3, 4, 5), S(2, 1, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(2, 1, 4, 5), S(1, 3, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(2, 1, 2, 4, 5), S(1, 3, 2, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(3, 4, 5), S(3, 5, 2)}, 2},
    {&ntk_op_matmul, "", {S(5), S(5, 3)}, 2},
    {&ntk_op_matmul, "", {S(4, 5), S(5)}, 2},
    {&ntk_op_matmul, "", {S(5), S(5)}, 2},
    {&ntk_op_matmul, "", {S(2, 4, 5), S(5)}, 2},
    {&ntk_op_matmul, "", {S(5), S(2, 5, 3)}, 2},
    {&ntk_op_conv, "", {S(1, 3, 9), S(4, 3, 3), S(4)}, 3},
    {&ntk_op_conv, "strides=2, pads=2,1, dilations=2,", {S(1, 2, 11), S(3, 2, 3), S(3)}, 3},
    {&ntk_op_conv, "pads=1,1,1,1", {S(1, 2, 5, 6), S(3, 2, 3, 3)}, 2},
    {&ntk_op_conv,
     "group=2 strides=2,1 pads=0,1,2,0 dilations=1,2",
     {S(1, 4, 7, 6), S(6, 2, 3, 2), S(6)},
     3},
    {&ntk_op_conv, "group=3", {S(1, 3, 5, 5), S(3, 1, 3, 3), S(3)}, 3},
    {&ntk_op_conv, "group=2 kernel_shape=2,2", {S(2, 4, 4, 4), S(4, 2, 2, 2), S(4)}, 3},
    {&ntk_op_conv, "", {S(1, 3, 4, 5), S(2, 3, 1, 1), S(2)}, 3},
    {&ntk_op_conv, "group=2", {S(2, 4, 3, 3), S(6, 2, 1, 1), S(6)}, 3},
    {&ntk_op_conv, "strides=2,2", {S(1, 3, 5, 4), S(2, 3, 1, 1), S(2)}, 3},
    {&ntk_op_conv, "pads=0,0,1,0", {S(1, 2, 3, 3), S(2, 2, 1, 1), S(2)}, 3},
    {&ntk_op_conv,
     "auto_pad=SAME_UPPER strides=2,2",
     {S(1, 2, 5, 6), S(3, 2, 3, 2), S(3)},
     3},
    {&ntk_op_conv, "auto_pad=SAME_LOWER", {S(1, 2, 5, 6), S(3, 2, 4, 2), S(3)}, 3},
    {&ntk_op_conv, "auto_pad=VALID", {S(1, 2, 5, 6), S(3, 2, 4, 2), S(3)}, 3},
    {&ntk_op_conv,
     "strides=1,2,1 pads=1,0,1,0,1,1",
     {S(1, 2, 3, 5, 4), S(3, 2, 2, 3, 2), S(3)},
     3},
    {&ntk_op_conv, "pads=1,1,1,1", {S(1, 1, 40, 41), S(2, 1, 3, 3), S(2)}, 3},
    {&ntk_op_maxpool, "kernel_shape=3, strides=2,", {S(1, 2, 9)}, 1},
    {&ntk_op_maxpool, "kernel_shape=2,3 strides=2,1 pads=1,1,0,1", {S(1, 3, 6, 7)}, 1},
    {&ntk_op_maxpool, "kernel_shape=2,2 strides=2,2 ceil_mode=1", {S(2, 2, 5, 7)}, 1},
    {&ntk_op_maxpool, "kernel_shape=2,2 dilations=2,3", {S(1, 2, 6, 7)}, 1},
    {&ntk_op_maxpool, "kernel_shape=2,2,3 auto_pad=SAME_UPPER", {S(1, 2, 3, 4, 5)}, 1},
    {&ntk_op_averagepool, "kernel_shape=3, strides=2, pads=1,1,", {S(1, 2, 8)}, 1},
    {&ntk_op_averagepool,
     "kernel_shape=3,2 pads=1,1,2,0 count_include_pad=1",
     {S(1, 2, 5, 6)},
     1},
    {&ntk_op_averagepool,
     "kernel_shape=3,3 strides=2,2 ceil_mode=1 pads=1,1,1,1",
     {S(1, 2, 6, 6)},
     1},
    {&ntk_op_averagepool,
     "kernel_shape=3,3 strides=2,2 ceil_mode=1 pads=1,1,1,1 count_include_pad=1",
     {S(1, 2, 6, 6)},
     1},
    {&ntk_op_averagepool, "kernel_shape=2,2,2 dilations=1,2,1", {S(2, 1, 3, 4, 3)}, 1},
    {&ntk_op_globalaveragepool, "", {S(1, 3, 4, 5)}, 1},
    {&ntk_op_globalaveragepool, "", {S(2, 3, 2, 3, 2, 2)}, 1},
    {&ntk_op_batchnormalization, "epsilon=0.1", {S(1, 3, 4, 5), S(3), S(3), S(3), S(3)}, 5},
    {&ntk_op_batchnormalization, "", {S(1, 4), S(4), S(4), S(4), S(4)}, 5},
    {&ntk_op_batchnormalization, "", {S(2, 3, 5), S(3), S(3), S(3), S(3)}, 5},
};
enum { CASES = sizeof cases / sizeof *cases };

#endif
