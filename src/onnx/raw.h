/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_RAW_H
#define NTK_ONNX_RAW_H

#include "base/status.h"
#include <stdint.h>

/* Purpose: walk the bytes of a ModelProto before they are unpacked: every length within its
 * message, messages nested at most 100 deep (unpacking recurses). Local.
 * NTK_ERR_FORMAT names `path` and what is wrong. */
NTK_CHECKED ntk_status ntk_raw_check(const char *path, const uint8_t *bytes, int64_t size);

#endif
