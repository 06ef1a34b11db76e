/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_MEANWHILE_H
#define NTK_BASE_MEANWHILE_H

#include "base/status.h"

/* What the calling thread does while other threads begin with the work of a call. */
typedef struct ntk_meanwhile {
  ntk_status (*fn)(void *argument); /* NULL: nothing */
  void *argument;
} ntk_meanwhile;

/* What the calling thread does between pieces of its work, often: something that is under
 * way elsewhere gets along. It must take no time worth mentioning. */
typedef struct ntk_between {
  void (*fn)(void *argument); /* NULL: nothing */
  void *argument;
} ntk_between;

static inline void ntk_between_do(const ntk_between *b) {
  if (b && b->fn)
    b->fn(b->argument);
}

static inline ntk_status ntk_meanwhile_do(ntk_meanwhile m) {
  return m.fn ? m.fn(m.argument) : NTK_SUCCESS;
}

#endif
