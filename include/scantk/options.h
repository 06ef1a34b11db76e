/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_OPTIONS_H
#define SCANTK_OPTIONS_H

#include <scantk/status.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Options: one table row each; a table parses, prints --help and is recorded in outputs.
 * All calls here are local. */
typedef enum ntk_option_type {
  NTK_OPTION_FLAG,   /* present or not */
  NTK_OPTION_STRING, /* any text */
  NTK_OPTION_INT,    /* integer within [min, max] */
  NTK_OPTION_REAL,   /* real within [min, max] */
  NTK_OPTION_CHOICE, /* one of `choices`, separated by | */
  NTK_OPTION_BYTES,  /* 512M, 4G, 1.5T, plain bytes: powers of 1024 */
  NTK_OPTION_RANGE   /* a:b, 0-based, half-open, a < b */
} ntk_option_type;

typedef struct ntk_option {
  const char *name; /* without dashes; NULL ends a table */
  ntk_option_type type;
  const char *default_text; /* NULL: no default, ntk_options_given tells */
  double min, max;          /* numbers; ignored where min == max */
  const char *choices;      /* CHOICE: "a|b|c"; else the word --help shows for the value */
  bool repeats;             /* may be given several times */
  const char *help;
} ntk_option;

typedef struct ntk_options ntk_options;

/* The library's tables: "context", "family" (model generation), "dataset" (conversion),
 * "model" (reading one), "data" (reading inputs), "plan", "output" (kernel file), "machine"
 * (one to plan for), "forward", "solve", "matrix-free", "linearize", "describe", "verify",
 * "group" (a kernel of a file), "export", "compare", "spectrum", "features",
 * "features-solve". NULL for another word. Tables that one command takes share no option.
 */
NTK_API const ntk_option *ntk_option_table(const char *object);

/* Parses argv[0..argc) against the union of `tables` (NULL-terminated list), strictly:
 * `--name value`, `--name=value` (the only form for a value that looks like an option, -a
 * or --a); words without dashes are positional, at most
 * `max_positional` of them. Errors: NTK_ERR_ARGUMENT with one line naming the option.
 * `*out` is owned by the caller. */
NTK_API NTK_CHECKED ntk_status ntk_options_parse(const ntk_option *const tables[], int argc,
                                                 const char *const argv[],
                                                 int max_positional, ntk_options **out);

/* The same from text: words split at blanks, '...' quotes, '' within quotes is one quote;
 * NULL is empty. */
NTK_API NTK_CHECKED ntk_status ntk_options_parse_text(const ntk_option *table,
                                                      const char *text, ntk_options **out);
NTK_API void ntk_options_destroy(ntk_options **options);

/* Values; the name must be in the tables (else a bug: assertion). Defaults are applied. */
NTK_API bool ntk_options_given(const ntk_options *options, const char *name);
NTK_API bool ntk_options_flag(const ntk_options *options, const char *name);
NTK_API const char *ntk_options_string(const ntk_options *options, const char *name);
NTK_API int64_t ntk_options_int(const ntk_options *options, const char *name);
NTK_API double ntk_options_real(const ntk_options *options, const char *name);
NTK_API int64_t ntk_options_bytes(const ntk_options *options, const char *name);
/* RANGE: false (and nothing written) where neither given nor defaulted. */
NTK_API bool ntk_options_range(const ntk_options *options, const char *name, int64_t *first,
                               int64_t *last);
/* The i-th occurrence of a repeating option, NULL past the last. */
NTK_API const char *ntk_options_repeated(const ntk_options *options, const char *name,
                                         int i);
/* The i-th positional word, NULL past the last. */
NTK_API const char *ntk_options_positional(const ntk_options *options, int i);

/* The options given that stand in `table`, as text for ntk_options_parse_text; the string
 * belongs to the options object, until the next such call. NULL: no memory. */
NTK_API const char *ntk_options_text(ntk_options *options, const ntk_option *table);

/* The word that --help shows for an option's value: its choices, or its kind; "" for a
 * flag. */
NTK_API const char *ntk_option_value(const ntk_option *option);

/* Help text: one line a row with type, choices and default, written to `buffer` of `size`
 * bytes as snprintf does: cut where too long; returns the length of the whole. */
NTK_API int ntk_options_help(const ntk_option *table, char *buffer, int size);

#ifdef __cplusplus
}
#endif
#endif
