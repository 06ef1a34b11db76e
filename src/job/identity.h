/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_JOB_IDENTITY_H
#define NTK_JOB_IDENTITY_H

#include "job/plan.h"
#include "job/provenance.h"

/* What makes two kernels the same one, as text of a line "name: value" each; kept in the
 * file as /identity and compared when a run goes on with it. All calls here are local. */

/* The model with its parameters; the outputs that are taken. */
NTK_CHECKED ntk_status ntk_identity_of_model(const ntk_model *model, ntk_text *text);
NTK_CHECKED ntk_status ntk_identity_of_outputs(int64_t count, const int64_t *index,
                                               ntk_text *text);
/* "range: first:end" of the samples (NULL: those of the rows); a digest, where there is
 * one, on rank 0; and where bytes may differ: processor, BLAS, threads. */
NTK_CHECKED ntk_status ntk_identity_of_range(const char *name, const ntk_data *data,
                                             ntk_text *text);
NTK_CHECKED ntk_status ntk_identity_of_digest(const char *name, bool there,
                                              const ntk_digests *digest, ntk_text *text);
NTK_CHECKED ntk_status ntk_identity_of_machine(ntk_text *text);
/* What is known before samples are read. numeric: what is asked for, or the plan's; its
 * algorithm is left out where any will do. */
NTK_CHECKED ntk_status ntk_identity_of_plan(const ntk_plan *plan,
                                            const ntk_numeric *numeric, bool any_algorithm,
                                            ntk_text *text);
/* Digests of the samples and cotangents, [2] each. */
NTK_CHECKED ntk_status ntk_identity_of_data(const ntk_plan *plan,
                                            const ntk_digests *digests,
                                            const ntk_digests *cotangents, ntk_text *text);
/* All of it: these and where the run takes place. */
NTK_CHECKED ntk_status ntk_identity_write(const ntk_plan *plan, const ntk_digests *digests,
                                          const ntk_digests *cotangents, ntk_text *text);

/* Every line of `here` must stand in `file`, the text of the file at `path`, with the same
 * value, else NTK_ERR_ARGUMENT names the first that does not: "PATH VERDICT: name: ...".
 * Only warned of, on rank 0, is another processor, BLAS or number of threads. */
NTK_CHECKED ntk_status ntk_identity_compare(const ntk_context *context, const char *path,
                                            const char *file, const char *here,
                                            const char *verdict);
/* Purpose: the lines of the first of `count` texts; those in which the texts differ have a
 * value that stands for all of theirs, in this order. */
NTK_CHECKED ntk_status ntk_identity_combine(int count, char *const *texts, ntk_text *text);
/* The value of the line that begins with `name` ("reduction: "); *value is to be freed.
 * NTK_ERR_FORMAT: there is no such line. */
NTK_CHECKED ntk_status ntk_identity_value(const char *path, const char *text,
                                          const char *name, char **value);

#endif
