/* SPDX-License-Identifier: Apache-2.0 */
#include "commit.h" /* made by the build: SCANTK_COMMIT, "" outside a repository */
#include <scantk/version.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *ntk_version(void) {
  static const char plain[] = TEXT(SCANTK_VERSION_MAJOR) "." TEXT(
      SCANTK_VERSION_MINOR) "." TEXT(SCANTK_VERSION_PATCH);
  static const char full[] = TEXT(SCANTK_VERSION_MAJOR) "." TEXT(
      SCANTK_VERSION_MINOR) "." TEXT(SCANTK_VERSION_PATCH) " (" SCANTK_COMMIT ")";
  return sizeof SCANTK_COMMIT > 1 ? full : plain;
}
