/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_SELFTEST_H
#define SCANTK_SELFTEST_H

#include <scantk/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Purpose: does the library work on this machine and these ranks? Products at each width of
 * vectors against a plain loop, messages, the algorithms against each other, and a kernel
 * file, written by the ranks that share the folder $TMPDIR (or /tmp) with rank 0. Seconds.
 * Collective. Each check is reported as a line PASS or FAIL (NTK_REPORT_RESULT).
 * Errors: NTK_ERR_INTERNAL, how many checks failed. */
NTK_API NTK_CHECKED ntk_status ntk_selftest(ntk_context *context);

#ifdef __cplusplus
}
#endif
#endif
