# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.20)
# Writes the header that names the commit: `commit` where given, else git's; empty outside a
# repository of our own (the ceiling keeps git from asking one around an unpacked archive).
if(NOT commit)
  get_filename_component(around ${source} DIRECTORY)
  set(ENV{GIT_CEILING_DIRECTORIES} ${around})
  execute_process(COMMAND git -C ${source} describe --always --dirty --abbrev=12
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${header} @ONLY CONTENT
"/* SPDX-License-Identifier: Apache-2.0 */
#define SCANTK_COMMIT \"@commit@\"
")
