#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# What `cmake --install` gives: a program of a user's own is built against it, by find_package and
# by pkg-config, and gets from the tiles what the installed program writes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder" || true' EXIT

# Open MPI 4 removes its folder at the end of a run, even while another begins in it.
alone() {
  OMPI_MCA_orte_tmpdir_base=$(mktemp -d -p "$folder") "$@"
}

export SCANTK_CACHE=$folder/cache PATH=$folder/prefix/bin:$PATH
cmake --install "$BUILD_DIR" --prefix "$folder/prefix" >"$folder/log"
cp "$SOURCE_DIR/tests/program/example.c" "$folder"
cd "$folder"

cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(example LANGUAGES C)
find_package(scantk 0.1 REQUIRED)
add_executable(example example.c)
target_link_libraries(example PRIVATE scantk::scantk)
END
{ cmake -S . -B by-cmake -DCMAKE_PREFIX_PATH="$folder/prefix" && cmake --build by-cmake; } >log 2>&1 ||
  { cat log && exit 1; }

alone scantk model fcn --input 12 --width 8 --outputs 5 -o m.onnx
{ # 20 samples of 12 bytes: IDX
  printf '\0\0\10\2\0\0\0\24\0\0\0\14'
  seq 1000 1047
} >data
alone scantk kernel --model m.onnx --inputs data --dtype f64 --block 8x3 --quiet -o k.h5
alone scantk info k.h5 | grep '^trace' >expected
read -ra launcher <<<"${MPIEXEC:?}"
alone by-cmake/example m.onnx data | diff - expected
"${launcher[@]}" -n 2 by-cmake/example m.onnx data | diff - expected

if command -v pkg-config >/dev/null && command -v mpicc >/dev/null; then
  PKG_CONFIG_PATH=$(dirname "$(find prefix -name scantk.pc)")
  export PKG_CONFIG_PATH
  read -ra flags <<<"$(pkg-config --cflags --libs scantk)"
  mpicc -std=c11 -Wall -Wextra -Werror example.c "${flags[@]}" -o by-pkg-config
  LD_LIBRARY_PATH=$PKG_CONFIG_PATH/.. alone ./by-pkg-config m.onnx data | diff - expected
fi

# The pages: nothing that groff would complain of, every command and option in it; in bash a
# command, an option, a choice of one and a family are completed, and files where they are due.
manual=prefix/share/man/man1/scantk.1
if command -v groff >/dev/null; then
  groff -man -ww -Tutf8 "$manual" 2>&1 >manual.txt | diff - /dev/null
fi
alone scantk kernel --help | grep -o '^  --[a-z0-9-]*' | while read -r option; do
  grep -qF -e "\\fB${option//-/\\-}\\fR" "$manual"
done
# shellcheck disable=SC1091
source prefix/share/bash-completion/completions/scantk
expect() { # expect LINE COMPLETIONS
  read -ra COMP_WORDS <<<"$1"
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMP_WORDS[COMP_CWORD]=${COMP_WORDS[COMP_CWORD]%_}
  _scantk
  [ "${COMPREPLY[*]}" = "$2" ] || { echo "$1: ${COMPREPLY[*]}" && exit 1; }
}
expect "scantk ker_" kernel
expect "scantk kernel --algo_" --algorithm
expect "scantk kernel --algorithm str_" structured
expect "scantk kernel --algorithm = str_" structured
expect "scantk kernel --quiet --red_" --reduce
expect "scantk model mobi_" mobilenet
expect "scantk kernel --model _" ""
expect "scantk none --m_" ""
