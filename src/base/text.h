/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_TEXT_H
#define NTK_BASE_TEXT_H

#include <scantk/status.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Text that grows: {0} is an empty one. Local. */
typedef struct ntk_text {
  char *data; /* NUL-terminated once anything was added */
  int64_t length, capacity;
} ntk_text;
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
NTK_CHECKED ntk_status
ntk_text_add(ntk_text *text, const char *format, ...);
/* `value` as a JSON string with quotes; NULL: null. */
NTK_CHECKED ntk_status ntk_text_add_json(ntk_text *text, const char *value);
/* The first letters of `value` as one word of a text of options, in single quotes. */
NTK_CHECKED ntk_status ntk_text_add_quoted(ntk_text *text, const char *value,
                                           int64_t length);
void ntk_text_clear(ntk_text *text);
/* Ends the JSON string whose first letter is at *at, its escapes resolved in place; *at
 * goes behind its quote. False where the text ends before. */
bool ntk_json_string(char **at);

/* Shell-style pattern (* ? [..]) against a whole name. */
bool ntk_glob_match(const char *pattern, const char *name);

/* Opens a regular file to be read, of *size bytes; to be closed by fclose. NTK_ERR_FILE. */
NTK_CHECKED ntk_status ntk_file_open(const char *path, FILE **out, int64_t *size);
/* Reads a whole file; *size bytes plus a NUL. NTK_ERR_FILE names path and reason. */
NTK_CHECKED ntk_status ntk_file_read(const char *path, char **bytes, int64_t *size);

#endif
