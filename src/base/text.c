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

void ntk_text_clear(ntk_text *text) {
  ntk_free(&text->data);
  text->length = text->capacity = 0;
}

bool ntk_glob_match(const char *pattern, const char *name) {
  return fnmatch(pattern, name, 0) == 0;
}

ntk_status ntk_file_read(const char *path, char **bytes, int64_t *size) {
  ntk_status status = NTK_SUCCESS;
  char *data = NULL;
  struct stat info;
  FILE *file = fopen(path, "rb");
  NTK_REQUIRE(file, NTK_ERR_FILE, "%s: cannot be read: %s", path, strerror(errno));
  NTK_REQUIRE(fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode), NTK_ERR_FILE,
              "%s: cannot be read: not a regular file", path);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, info.st_size + 1, 1, &data));
  NTK_REQUIRE(fread(data, 1, (size_t)info.st_size, file) == (size_t)info.st_size,
              NTK_ERR_FILE, "%s: cannot be read to its end", path);
  data[info.st_size] = '\0';
  *bytes = data;
  *size = info.st_size;
  data = NULL;
done:
  if (file)
    (void)fclose(file);
  ntk_free(&data);
  return status;
}
