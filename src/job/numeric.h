/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_NUMERIC_H
#define NTK_JOB_NUMERIC_H

#include "base/text.h"
#include "ntk/engine.h"

/* The numerical plan: everything that decides rounding (design section 5). Made once, on
 * rank 0, before any decision about grid or memory, sent to all ranks as text, kept in the
 * file. */
typedef struct ntk_numeric {
  ntk_algorithm algorithm;
  ntk_reduction reduction;
  bool trace_sum; /* trace without the 1/O */
  ntk_dtype dtype;
  int64_t outputs;              /* cotangents */
  int64_t block, outputs_block; /* B, Q */
  int64_t sweep_samples;
  int group_count;
  ntk_order *orders; /* [group_count] */
} ntk_numeric;
void ntk_numeric_clear(ntk_numeric *numeric);

/* As text; `groups` (those of the plan's network) name the rows. */
NTK_CHECKED ntk_status ntk_numeric_write(const ntk_numeric *numeric,
                                         const ntk_groups *groups, ntk_text *text);
/* From text; `path` for messages. NTK_ERR_FORMAT. */
NTK_CHECKED ntk_status ntk_numeric_parse(const char *text, const char *path,
                                         ntk_numeric *out);

/* Does the plan fit this network (number and sizes of groups as written)? */
NTK_CHECKED ntk_status ntk_numeric_check(const char *text, const char *path,
                                         const ntk_numeric *numeric,
                                         const ntk_groups *groups);

const char *ntk_reduction_name(ntk_reduction reduction); /* "none", "trace", ... */

/* Defaults of B, Q, sweep and orders for a network; fixed_block, fixed_outputs: given by
 * the user, 0: to be chosen. */
NTK_CHECKED ntk_status ntk_numeric_choose(const ntk_network *network, int64_t n1,
                                          int64_t n2, bool symmetric,
                                          const ntk_rates *rates, int64_t fixed_block,
                                          int64_t fixed_outputs, ntk_numeric *numeric);

/* Shape of the costs of this plan. */
ntk_cost_shape ntk_numeric_cost_shape(const ntk_numeric *numeric, int64_t n1, int64_t n2,
                                      bool symmetric);

#endif
