/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_OPS_H
#define NTK_OPS_OPS_H

#include "graph/op.h"

/* The operator of this name, NULL where there is none. */
const ntk_op *ntk_op_find(const char *name);
/* Row i of the table, NULL past the end; for tests and listings. */
const ntk_op *ntk_op_at(int i);

/* Do `count` elements from *at on of a node's output 0 stand in a row in one of its
 * operands? Then *value and *from say where. Of moves; else false. */
bool ntk_move_origin(const ntk_graph *graph, int node, int64_t at, int64_t count,
                     int *value, int64_t *from);

#endif
