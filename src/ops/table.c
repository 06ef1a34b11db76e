/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/families.h"
#include "ops/ops.h"
#include <string.h>

static const ntk_op *const table[] = {
#define NTK_OPERATOR_ENTRY(name) &ntk_op_##name,
    NTK_OPERATORS(NTK_OPERATOR_ENTRY)
#undef NTK_OPERATOR_ENTRY
};
enum { COUNT = sizeof table / sizeof *table };

const ntk_op *ntk_op_at(int i) { return i >= 0 && i < COUNT ? table[i] : NULL; }

const ntk_op *ntk_op_find(const char *name) {
  for (int i = 0; i < COUNT; i++)
    if (strcmp(table[i]->name, name) == 0)
      return table[i];
  return NULL;
}
