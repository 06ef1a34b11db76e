/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_OPTIONS_H
#define NTK_BASE_OPTIONS_H

#include <scantk/options.h>

/* ntk_options_parse_text for several tables, a NULL-terminated list. Local. */
NTK_CHECKED ntk_status ntk_options_parse_texts(const ntk_option *const tables[],
                                               const char *text, ntk_options **out);

#endif
