/* SPDX-License-Identifier: Apache-2.0 */
#include "io/npy.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_little_endian(void) {
  const uint16_t one = 1;
  return *(const unsigned char *)&one == 1;
}

bool ntk_npy_is(const unsigned char *bytes, int64_t count) {
  return count >= 12 && memcmp(bytes, "\x93NUMPY", 6) == 0;
}

/* Versions above 1 have a length of four bytes. */
static int64_t text_at(const unsigned char *h) { return h[6] > 1 ? 12 : 10; }

int64_t ntk_npy_bytes(const unsigned char *h) {
  const int64_t length = h[9] << 8 | h[8];
  return text_at(h) + (h[6] > 1 ? (int64_t)h[11] << 24 | h[10] << 16 | length : length);
}

static bool parse_descr(const char *d, ntk_npy *out) {
  static const struct {
    const char *code;
    ntk_dtype dtype;
  } types[] = {{"f2", NTK_F32}, {"f4", NTK_F32}, {"f8", NTK_F64}, {"i1", NTK_I8},
               {"i2", NTK_I16}, {"i4", NTK_I32}, {"i8", NTK_I64}, {"u1", NTK_U8},
               {"u2", NTK_U16}, {"u4", NTK_U32}, {"u8", NTK_U64}, {"b1", NTK_BOOL}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (*d && strncmp(d + 1, types[i].code, 2) == 0 && d[3] == '\'') {
      out->dtype = types[i].dtype;
      out->is_half = i == 0;
      out->swap = (d[0] == '>') == is_little_endian() && d[0] != '|';
      return true;
    }
  return false;
}

/* "(60000, 28, 28)", "(5,)", "()". */
static ntk_status parse_shape(const char *path, const char *text, ntk_shape *shape) {
  ntk_status status = NTK_SUCCESS;
  shape->ndim = 0;
  for (text++; *text != ')'; shape->ndim++) {
    char *rest;
    const long long value = strtoll(text, &rest, 10);
    NTK_REQUIRE(isdigit((unsigned char)*text) && (*rest == ',' || *rest == ')'),
                NTK_ERR_FORMAT, "%s: the npy header has no shape", path);
    NTK_REQUIRE(shape->ndim < NTK_MAX_DIMS, NTK_ERR_FORMAT,
                "%s: too many axes; 1 to %d are read", path, NTK_MAX_DIMS);
    shape->dim[shape->ndim] = value;
    for (text = rest; *text == ',' || *text == ' ';)
      text++;
  }
done:
  return status;
}

ntk_status ntk_npy_read(const char *path, const unsigned char *h, int64_t count,
                        ntk_npy *out) {
  ntk_status status = NTK_SUCCESS;
  char text[NTK_NPY_HEADER];
  NTK_REQUIRE(ntk_npy_is(h, count), NTK_ERR_FORMAT, "%s: not npy", path);
  const int64_t at = text_at(h), start = ntk_npy_bytes(h);
  NTK_REQUIRE(start - at < NTK_NPY_HEADER && count >= start, NTK_ERR_FORMAT,
              "%s: truncated in the npy header", path);
  memcpy(text, h + at, (size_t)(start - at));
  text[start - at] = '\0';
  const char *descr = strstr(text, "'descr': '"), *shape = strstr(text, "'shape': (");
  NTK_REQUIRE(descr && parse_descr(descr + 10, out), NTK_ERR_UNSUPPORTED,
              "%s: the elements are neither real (f2, f4, f8) nor integer", path);
  NTK_REQUIRE(shape, NTK_ERR_FORMAT, "%s: the npy header has no shape", path);
  out->is_fortran = !strstr(text, "'fortran_order': False");
  out->start = start;
  NTK_TRY(parse_shape(path, shape + 9, &out->shape));
done:
  return status;
}

int64_t ntk_npy_write(ntk_dtype dtype, const ntk_shape *shape, char text[1024]) {
  char dims[NTK_SHAPE_TEXT] = "";
  int length = 0;
  for (int i = 0; i < shape->ndim; i++)
    length += snprintf(dims + length, sizeof dims - (size_t)length, "%lld, ",
                       (long long)shape->dim[i]);
  length = snprintf(text + 10, 1014,
                    "{'descr': '%cf%d', 'fortran_order': False, "
                    "'shape': (%s), }",
                    is_little_endian() ? '<' : '>', (int)ntk_dtype_bytes(dtype), dims);
  const int bytes = (10 + length + 1 + 63) / 64 * 64;
  memset(text + 10 + length, ' ', (size_t)(bytes - 10 - length));
  text[bytes - 1] = '\n';
  static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
  memcpy(text, magic, sizeof magic);
  text[8] = (char)((bytes - 10) & 255);
  text[9] = (char)((bytes - 10) >> 8);
  return bytes;
}

void ntk_swap_elements(unsigned char *data, int64_t n, size_t bytes) {
  for (int64_t i = 0; i < n; i++, data += bytes)
    for (size_t k = 0; k < bytes / 2; k++) {
      const unsigned char byte = data[k];
      data[k] = data[bytes - 1 - k];
      data[bytes - 1 - k] = byte;
    }
}
