/* SPDX-License-Identifier: Apache-2.0 */
/* APPNOTE.TXT of PKWARE: at the end of the file stands where the central directory is, a
 * header of each entry; numbers are little-endian, those of 64 bits stand in extra fields.
 */
#include "io/zip.h"
#include "base/memory.h"
#include "base/text.h"
#include <string.h>
#include <zlib.h>

enum {
  END_BYTES = 22,
  END64_BYTES = 56,
  LOCATOR_BYTES = 20,
  CENTRAL_BYTES = 46,
  LOCAL_BYTES = 30,
  COMMENT_MOST = 65535,
  PIECE_BYTES = 65536
};

struct ntk_zip {
  char *path;
  FILE *file;
  int64_t bytes;
  int count;
  ntk_zip_entry *entries;
  /* the entry under way */
  const ntk_zip_entry *entry;
  int64_t left, packed_left;
  uint32_t crc;
  bool is_inflating;
  z_stream inflater;
  unsigned char piece[PIECE_BYTES];
};

static uint64_t number(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  for (int i = bytes; i-- > 0;)
    value = value << 8 | at[i];
  return value;
}

static ntk_status damaged(const ntk_zip *zip, const char *what) {
  return ntk_fail(NTK_ERR_FORMAT, "%s: damaged: %s", zip->path, what);
}

static ntk_status read_at(ntk_zip *zip, int64_t from, int64_t bytes, void *to) {
  if (from < 0 || bytes < 0 || from > zip->bytes || bytes > zip->bytes - from)
    return damaged(zip, "it ends too early");
  if (fseeko(zip->file, (off_t)from, SEEK_SET) != 0 ||
      fread(to, 1, (size_t)bytes, zip->file) != (size_t)bytes)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be read", zip->path);
  return NTK_SUCCESS;
}

/* ---- directory ------------------------------------------------------------------------
 */

/* Of the central directory: entries, bytes, start. */
typedef struct directory {
  int64_t count, bytes, from;
} directory;

/* Where any number of the end is too large for it, a second end stands in front. */
static ntk_status find_large(ntk_zip *zip, int64_t end, directory *d) {
  ntk_status status = NTK_SUCCESS;
  unsigned char locator[LOCATOR_BYTES], large[END64_BYTES];
  NTK_TRY(read_at(zip, end - LOCATOR_BYTES, LOCATOR_BYTES, locator));
  if (memcmp(locator, "PK\x06\x07", 4) != 0)
    goto done;
  NTK_TRY(read_at(zip, (int64_t)number(locator + 8, 8), END64_BYTES, large));
  if (memcmp(large, "PK\x06\x06", 4) != 0)
    NTK_TRY(damaged(zip, "no end of the directory"));
  d->count = (int64_t)number(large + 32, 8);
  d->bytes = (int64_t)number(large + 40, 8);
  d->from = (int64_t)number(large + 48, 8);
done:
  return status;
}

static ntk_status find_directory(ntk_zip *zip, directory *d) {
  ntk_status status = NTK_SUCCESS;
  unsigned char *tail = NULL;
  const int64_t most = END_BYTES + COMMENT_MOST;
  const int64_t bytes = zip->bytes < most ? zip->bytes : most;
  int64_t at = bytes - END_BYTES;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, bytes, 1, &tail));
  NTK_TRY(read_at(zip, zip->bytes - bytes, bytes, tail));
  while (at >= 0 && memcmp(tail + at, "PK\x05\x06", 4) != 0)
    at--;
  if (at < 0)
    NTK_TRY(damaged(zip, "a zip archive without its directory"));
  d->count = (int64_t)number(tail + at + 10, 2);
  d->bytes = (int64_t)number(tail + at + 12, 4);
  d->from = (int64_t)number(tail + at + 16, 4);
  if (d->count == UINT16_MAX || d->bytes == UINT32_MAX || d->from == UINT32_MAX)
    NTK_TRY(find_large(zip, zip->bytes - bytes + at, d));
done:
  ntk_free(&tail);
  return status;
}

/* The field of 64-bit numbers holds, in this order, those that were too large. */
static void widen(const unsigned char *extra, int64_t bytes, ntk_zip_entry *e) {
  int64_t *const numbers[] = {&e->size, &e->packed, &e->header};
  for (int64_t at = 0, length; at + 4 <= bytes; at += 4 + length) {
    length = (int64_t)number(extra + at + 2, 2);
    if (number(extra + at, 2) != 1)
      continue;
    const int64_t end = at + 4 + length < bytes ? at + 4 + length : bytes;
    int64_t from = at + 4;
    for (int i = 0; i < 3; i++)
      if (*numbers[i] == UINT32_MAX && from + 8 <= end) {
        *numbers[i] = (int64_t)number(extra + from, 8);
        from += 8;
      }
    return;
  }
}

/* The header at *at, of a directory that ends at `end`. */
static ntk_status take_entry(ntk_zip *zip, const unsigned char **at,
                             const unsigned char *end) {
  ntk_status status = NTK_SUCCESS;
  const unsigned char *h = *at;
  ntk_zip_entry *e = &zip->entries[zip->count];
  if (end - h < CENTRAL_BYTES || memcmp(h, "PK\x01\x02", 4) != 0)
    NTK_TRY(damaged(zip, "its directory is broken"));
  const int64_t name = (int64_t)number(h + 28, 2), extra = (int64_t)number(h + 30, 2);
  const int64_t comment = (int64_t)number(h + 32, 2);
  if (end - h < CENTRAL_BYTES + name + extra + comment)
    NTK_TRY(damaged(zip, "its directory is broken"));
  *e = (ntk_zip_entry){.method = (int)number(h + 10, 2),
                       .crc = (uint32_t)number(h + 16, 4),
                       .packed = (int64_t)number(h + 20, 4),
                       .size = (int64_t)number(h + 24, 4),
                       .header = (int64_t)number(h + 42, 4)};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, name + 1, 1, &e->name));
  zip->count++;
  memcpy(e->name, h + CENTRAL_BYTES, (size_t)name);
  widen(h + CENTRAL_BYTES + name, extra, e);
  NTK_REQUIRE((e->method == 0 || e->method == 8) && !(number(h + 8, 2) & 1),
              NTK_ERR_UNSUPPORTED, "%s: '%s' is neither stored nor deflated", zip->path,
              e->name);
  if (e->size < 0 || e->packed < 0 || (e->method == 0 && e->size != e->packed))
    NTK_TRY(damaged(zip, "its directory is broken"));
  *at = h + CENTRAL_BYTES + name + extra + comment;
done:
  return status;
}

static ntk_status read_directory(ntk_zip *zip) {
  ntk_status status = NTK_SUCCESS;
  unsigned char *bytes = NULL;
  directory d = {0};
  NTK_TRY(find_directory(zip, &d));
  if (d.bytes < 0 || d.bytes > zip->bytes || d.count < 0 ||
      d.count > d.bytes / CENTRAL_BYTES)
    NTK_TRY(damaged(zip, "its directory is broken"));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, d.bytes, 1, &bytes));
  NTK_TRY(read_at(zip, d.from, d.bytes, bytes));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, d.count, sizeof *zip->entries, &zip->entries));
  const unsigned char *at = bytes;
  for (int64_t i = 0; i < d.count; i++)
    NTK_TRY(take_entry(zip, &at, bytes + d.bytes));
done:
  ntk_free(&bytes);
  return status;
}

ntk_status ntk_zip_open(const char *path, ntk_zip **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_zip *zip = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *zip, &zip));
  NTK_TRY(ntk_strdup(path, &zip->path));
  NTK_TRY(ntk_file_open(path, &zip->file, &zip->bytes));
  NTK_TRY(read_directory(zip));
  *out = zip;
  zip = NULL;
done:
  ntk_zip_close(&zip);
  return status;
}

static void stop_inflating(ntk_zip *zip) {
  if (zip->is_inflating)
    (void)inflateEnd(&zip->inflater);
  zip->is_inflating = false;
}

void ntk_zip_close(ntk_zip **handle) {
  ntk_zip *zip = *handle;
  if (!zip)
    return;
  stop_inflating(zip);
  if (zip->file)
    (void)fclose(zip->file);
  for (int i = 0; i < zip->count; i++)
    ntk_free(&zip->entries[i].name);
  ntk_free(&zip->entries);
  ntk_free(&zip->path);
  ntk_free(handle);
}

int ntk_zip_count(const ntk_zip *zip) { return zip->count; }
const ntk_zip_entry *ntk_zip_entries(const ntk_zip *zip) { return zip->entries; }

/* ---- reading --------------------------------------------------------------------------
 */

ntk_status ntk_zip_start(ntk_zip *zip, int entry) {
  ntk_status status = NTK_SUCCESS;
  const ntk_zip_entry *e = &zip->entries[entry];
  unsigned char h[LOCAL_BYTES];
  stop_inflating(zip);
  NTK_TRY(read_at(zip, e->header, LOCAL_BYTES, h));
  if (memcmp(h, "PK\x03\x04", 4) != 0)
    NTK_TRY(damaged(zip, "an entry has no header"));
  const int64_t from =
      e->header + LOCAL_BYTES + (int64_t)(number(h + 26, 2) + number(h + 28, 2));
  if (from > zip->bytes || e->packed > zip->bytes - from)
    NTK_TRY(damaged(zip, "it ends too early"));
  NTK_TRY(read_at(zip, from, 0, h));
  if (e->method == 8) {
    zip->inflater = (z_stream){0};
    NTK_REQUIRE(inflateInit2(&zip->inflater, -MAX_WBITS) == Z_OK, NTK_ERR_MEMORY,
                "no memory to unpack %s", zip->path);
    zip->is_inflating = true;
  }
  zip->entry = e;
  zip->left = e->size;
  zip->packed_left = e->packed;
  zip->crc = (uint32_t)crc32(0, NULL, 0);
done:
  return status;
}

/* Fills the inflater's input; nothing where all has been read. */
static ntk_status feed(ntk_zip *zip) {
  const int64_t n = zip->packed_left < PIECE_BYTES ? zip->packed_left : PIECE_BYTES;
  if (n == 0 || fread(zip->piece, 1, (size_t)n, zip->file) != (size_t)n)
    return damaged(zip, "an entry ends too early");
  zip->packed_left -= n;
  zip->inflater.next_in = zip->piece;
  zip->inflater.avail_in = (uInt)n;
  return NTK_SUCCESS;
}

static ntk_status read_inflated(ntk_zip *zip, unsigned char *out, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  zip->inflater.next_out = out;
  zip->inflater.avail_out = (uInt)bytes;
  while (zip->inflater.avail_out > 0) {
    if (zip->inflater.avail_in == 0)
      NTK_TRY(feed(zip));
    const int code = inflate(&zip->inflater, Z_NO_FLUSH);
    if (code != Z_OK && (code != Z_STREAM_END || zip->inflater.avail_out > 0))
      NTK_TRY(damaged(zip, "an entry cannot be unpacked"));
  }
done:
  return status;
}

static ntk_status read_piece(ntk_zip *zip, unsigned char *out, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  if (zip->entry->method == 8)
    NTK_TRY(read_inflated(zip, out, bytes));
  else if (fread(out, 1, (size_t)bytes, zip->file) != (size_t)bytes)
    NTK_TRY(damaged(zip, "it ends too early"));
  zip->crc = (uint32_t)crc32(zip->crc, out, (uInt)bytes);
  zip->left -= bytes;
done:
  return status;
}

ntk_status ntk_zip_read(ntk_zip *zip, void *out, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  const int64_t most = (int64_t)1 << 30;
  if (bytes > zip->left)
    NTK_TRY(damaged(zip, "an entry ends too early"));
  for (int64_t at = 0; at < bytes; at += most)
    NTK_TRY(
        read_piece(zip, (unsigned char *)out + at, bytes - at < most ? bytes - at : most));
  if (zip->left == 0 && zip->crc != zip->entry->crc)
    status = ntk_fail(NTK_ERR_FORMAT, "%s: damaged: the checksum of '%s' is wrong",
                      zip->path, zip->entry->name);
done:
  return status;
}
