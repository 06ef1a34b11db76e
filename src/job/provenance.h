/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_PROVENANCE_H
#define NTK_JOB_PROVENANCE_H

#include "io/store.h"
#include "job/plan.h"

/* Digests of the samples of a data set, shared out over the ranks. */
typedef struct ntk_digests {
  ntk_digest_share mine;
  uint64_t sum[2]; /* of all ranks', mod 2^128, low and high, on rank 0 */
} ntk_digests;
/* Reads every sample once; also the check that all are finite. Collective. */
NTK_CHECKED ntk_status ntk_digests_create(ntk_context *context, ntk_data *data,
                                          ntk_dtype dtype, ntk_digests *out);
void ntk_digests_clear(ntk_digests *digests);

/* Names of the hosts of all ranks, each once with its ranks: "a x4, b x4". Collective; on
 * rank 0. */
NTK_CHECKED ntk_status ntk_hosts(ntk_context *context, ntk_text *text);

/* JSON of /provenance (interface section 2), on rank 0. plan NULL: of a forward run over
 * `data`. Local. */
typedef struct ntk_origin {
  const ntk_context *context;
  const ntk_model *model;
  const ntk_data *rows, *columns;       /* columns NULL: the same samples, or none */
  const ntk_digests *digests;           /* [2], NULL: none */
  const ntk_digests *cotangent_digests; /* [2], of the plan's cotangents */
  const ntk_plan *plan;
  const char *format; /* of the file; NULL: by the plan */
  const char *hosts, *command_line;
} ntk_origin;
NTK_CHECKED ntk_status ntk_provenance_write(const ntk_origin *origin, ntk_text *text);

/* Bytes to reserve for a text of this length, so that files of one kernel are of one size
 * whatever their hosts, paths and command lines: what is not names of parameters is rounded
 * up to 16 KiB. Local. */
int64_t ntk_provenance_room(const ntk_model *model, int64_t length);

/* "2026-01-31T12:00:00Z" */
const char *ntk_utc_now(char buffer[32]);

#endif
