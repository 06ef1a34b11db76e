/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_DTYPE_H
#define SCANTK_DTYPE_H

/* Types of elements. The first two are those of computation. */
typedef enum ntk_dtype {
  NTK_F32,
  NTK_F64,
  NTK_I64,
  NTK_I32,
  NTK_I16,
  NTK_I8,
  NTK_U64,
  NTK_U32,
  NTK_U16,
  NTK_U8,
  NTK_BOOL,
  NTK_DTYPES
} ntk_dtype;

#endif
