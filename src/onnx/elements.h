/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_ELEMENTS_H
#define NTK_ONNX_ELEMENTS_H

#include "onnx.pb-c.h"
#include "tensor/tensor.h"
#include <stdio.h>

/* Where the elements of large tensors stand: in the model file or in files of external
 * data, from which one rank reads them into a block that others see. */

/* Those of one tensor. */
typedef struct ntk_piece {
  char *path;          /* of external data; NULL: the model itself */
  int64_t from, bytes; /* there: raw elements, or where is_typed the whole TensorProto */
  bool is_typed;
  int type; /* ONNX's */
  int64_t count;
  int64_t at;     /* in the block, bytes */
  double made_up; /* not 0: there is no such file; elements are made up of this size */
} ntk_piece;

typedef struct ntk_elements {
  int count;
  ntk_piece *pieces;
  int64_t bytes;      /* of the block */
  bool may_be_absent; /* weights in files that are not there are made up ... */
  bool lacks_weights; /* ... as some are */
} ntk_elements;

/* A tensor's bytes in the model file. */
typedef struct ntk_payload {
  int64_t message_at, message_bytes; /* the TensorProto */
  int64_t raw_at, raw_bytes;         /* its raw data; raw_at -1: it has none */
} ntk_payload;

/* Purpose: give the elements of a tensor a place in the block; *at and *bytes say where and
 * how many, *at -1 where type or shape are such that its reader will refuse it. `tensor`
 * may lack what is in the payload. folder: where external data may lie (no absolute path,
 * no "..", no link out of it), NULL: none are allowed. Local. Errors: NTK_ERR_FORMAT (data
 * of another length than the shape), NTK_ERR_FILE, NTK_ERR_UNSUPPORTED. */
NTK_CHECKED ntk_status ntk_elements_add(ntk_elements *elements,
                                        const Onnx__TensorProto *tensor,
                                        const ntk_payload *payload, const char *folder,
                                        int64_t *at, int64_t *bytes);
/* Reads them all into the block; half floats are widened. Local. */
NTK_CHECKED ntk_status ntk_elements_read(const ntk_elements *elements, FILE *model,
                                         const char *path, char *block);
void ntk_elements_clear(ntk_elements *elements);

#endif
