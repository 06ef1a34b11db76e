/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_GENERATE_H
#define NTK_ONNX_GENERATE_H

#include "onnx/writer.h"
#include <scantk/options.h>

/* Purpose: the network of a family (families.h) with random parameters, in a writer. Local.
 * options: of the table "family". member: added to the seed. The parameters depend on these
 * alone. Errors: NTK_ERR_ARGUMENT, NTK_ERR_MEMORY. */
NTK_CHECKED ntk_status ntk_family_build(const char *family, const ntk_options *options,
                                        int64_t member, ntk_writer *writer);

#endif
