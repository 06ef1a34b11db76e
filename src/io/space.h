/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_SPACE_H
#define NTK_IO_SPACE_H

#include "base/status.h"

/* The file system on which a file stands, or is to stand. All calls are local. */

/* Free bytes; infinite where it does not tell. */
double ntk_free_bytes(const char *path);

/* Its kind as the system names it, "ext4", "nfs4", "lustre"; "unknown kind" where that is
 * not told. Returns `name`. */
enum { NTK_FILE_SYSTEM_NAME = 32 };
const char *ntk_file_system(const char *path, char name[NTK_FILE_SYSTEM_NAME]);

/* Purpose: take the whole space of a file that is there, holes included, so that writing it
 * cannot fail for want of space. NTK_ERR_FILE: there is too little, or the file system
 * cannot; what was taken goes with the file. */
NTK_CHECKED ntk_status ntk_reserve(const char *path);

#endif
