/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_ZIP_H
#define NTK_IO_ZIP_H

#include "base/status.h"
#include <stdint.h>

/* Files in a zip archive, stored or deflated, of any size. Private to src/io; everything is
 * local. */
typedef struct ntk_zip_entry {
  char *name;
  int method;
  uint32_t crc;
  int64_t packed, size; /* bytes */
  int64_t header;       /* where its local header stands */
} ntk_zip_entry;

typedef struct ntk_zip ntk_zip;

/* NTK_ERR_FORMAT: damaged; NTK_ERR_UNSUPPORTED: another compression, encrypted. */
NTK_CHECKED ntk_status ntk_zip_open(const char *path, ntk_zip **out);
void ntk_zip_close(ntk_zip **zip);
int ntk_zip_count(const ntk_zip *zip);
const ntk_zip_entry *ntk_zip_entries(const ntk_zip *zip);

/* Starts an entry: the reads that follow go through its bytes. With its last byte its
 * checksum is compared. NTK_ERR_FORMAT: damaged, or it has fewer. */
NTK_CHECKED ntk_status ntk_zip_start(ntk_zip *zip, int entry);
NTK_CHECKED ntk_status ntk_zip_read(ntk_zip *zip, void *out, int64_t bytes);

#endif
