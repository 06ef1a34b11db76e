/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_OPS_OPS_H
#define NTK_OPS_OPS_H

#include "graph/op.h"

/* The operator of this name, NULL where there is none. */
const ntk_op *ntk_op_find(const char *name);
/* Row i of the table, NULL past the end; for tests and listings. */
const ntk_op *ntk_op_at(int i);

#endif
