/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_SLIM_H
#define NTK_ONNX_SLIM_H

#include "base/text.h"
#include "onnx/elements.h"

/* Purpose: the bytes of a ModelProto without the elements of large tensors, so that every
 * rank can unpack them; in place of the elements stands where they will be in the block
 * (elements.h), and so in place of external data. On the way every length is found to lie
 * within its message and messages nested at most 100 deep (unpacking recurses).
 * file    of `size` bytes, read from its start.
 * folder  of external data, NULL: none are allowed.
 * Local. NTK_ERR_FORMAT names `path` and what is wrong; errors of ntk_elements_add. */
NTK_CHECKED ntk_status ntk_slim_read(FILE *file, int64_t size, const char *path,
                                     const char *folder, ntk_text *bytes,
                                     ntk_elements *elements);

#endif
