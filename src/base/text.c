/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/memory.h"
#include "base/status.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

ntk_status ntk_text_add(ntk_text *text, const char *format, ...) {
  ntk_status status = NTK_SUCCESS;
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = vsnprintf(NULL, 0, format, arguments);
  NTK_REQUIRE(length >= 0, NTK_ERR_INTERNAL, "text cannot be formatted: %.40s", format);
  if (text->length + length + 1 > text->capacity) {
    const int64_t capacity = 2 * (text->length + length) + 64;
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, capacity, 1, &text->data));
    text->capacity = capacity;
  }
  (void)vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
  text->length += length;
done:
  va_end(arguments);
  va_end(again);
  return status;
}

ntk_status ntk_text_add_json(ntk_text *text, const char *value) {
  ntk_status status = NTK_SUCCESS;
  if (!value)
    return ntk_text_add(text, "null");
  NTK_TRY(ntk_text_add(text, "\""));
  for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
    if (*c == '"' || *c == '\\')
      NTK_TRY(ntk_text_add(text, "\\%c", *c));
    else if (*c < 0x20)
      NTK_TRY(ntk_text_add(text, "\\u%04x", *c));
    else
      NTK_TRY(ntk_text_add(text, "%c", *c));
  }
  NTK_TRY(ntk_text_add(text, "\""));
done:
  return status;
}

ntk_status ntk_text_add_quoted(ntk_text *text, const char *value, int64_t length) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "'"));
  for (int64_t i = 0; i < length; i++)
    NTK_TRY(ntk_text_add(text, "%s%c", value[i] == '\'' ? "'" : "", value[i]));
  NTK_TRY(ntk_text_add(text, "'"));
done:
  return status;
}

/* The letter that \uXXXX stands for, as UTF-8; returns the end of what was written. */
static char *put_utf8(char *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 63));
  } else {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 63));
    *to++ = (char)(0x80 | (code & 63));
  }
  return to;
}

bool ntk_json_string(char **at) {
  char *from = *at, *to = *at;
  while (*from && *from != '"') {
    unsigned code;
    if (*from == '\\' && from[1] == 'u' && sscanf(from + 2, "%4x", &code) == 1) {
      to = put_utf8(to, code);
      from += strnlen(from, 6);
    } else {
      from += *from == '\\' && from[1];
      *to++ = *from++;
    }
  }
  const bool ends = *from == '"';
  *at = from + ends;
  *to = '\0';
  return ends;
}

void ntk_text_clear(ntk_text *text) {
  ntk_free(&text->data);
  text->length = text->capacity = 0;
}

bool ntk_glob_match(const char *pattern, const char *name) {
  return fnmatch(pattern, name, 0) == 0;
}

ntk_status ntk_file_open(const char *path, FILE **out, int64_t *size) {
  ntk_status status = NTK_SUCCESS;
  struct stat info;
  FILE *file = fopen(path, "rb");
  NTK_REQUIRE(file, NTK_ERR_FILE, "%s: cannot be read: %s", path, strerror(errno));
  NTK_REQUIRE(fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode), NTK_ERR_FILE,
              "%s: cannot be read: not a regular file", path);
  *size = info.st_size;
  *out = file;
  file = NULL;
done:
  if (file)
    (void)fclose(file);
  return status;
}

ntk_status ntk_file_read(const char *path, char **bytes, int64_t *size) {
  ntk_status status = NTK_SUCCESS;
  char *data = NULL;
  FILE *file = NULL;
  int64_t length;
  NTK_TRY(ntk_file_open(path, &file, &length));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, length + 1, 1, &data));
  NTK_REQUIRE(fread(data, 1, (size_t)length, file) == (size_t)length, NTK_ERR_FILE,
              "%s: cannot be read to its end", path);
  data[length] = '\0';
  *bytes = data;
  *size = length;
  data = NULL;
done:
  if (file)
    (void)fclose(file);
  ntk_free(&data);
  return status;
}
