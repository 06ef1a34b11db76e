#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ranks: 2
# The library in programs of others, built and run against what `cmake --install` gives: C, Fortran
# and Python take the same kernel of rows in memory, factorise it, and find the same determinant.
# What a machine lacks (mpifort, mpi4py) is said and left out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder" || true' EXIT

# Open MPI 4 removes its folder at the end of a run, even while another begins in it.
alone() {
  OMPI_MCA_orte_tmpdir_base=$(mktemp -d -p "$folder") "$@"
}

# of_build NAME: a variable of the build.
of_build() {
  sed -n "s/^$1:[A-Z]*=//p" "$BUILD_DIR/CMakeCache.txt"
}

export SCANTK_CACHE=$folder/cache PATH=$folder/prefix/bin:$PATH
cmake --install "$BUILD_DIR" --prefix "$folder/prefix" >"$folder/log"
cp "$SOURCE_DIR"/tests/embed/logdet.* "$folder"
cd "$folder"
alone scantk model fcn --input 12 --width 64 --depth 2 --outputs 3 -o m.onnx
read -ra launcher <<<"${MPIEXEC:?}"
read -ra scalapack <<<"$(of_build SCALAPACK_LIBRARIES)"
LD_LIBRARY_PATH=$(dirname "$(find "$folder/prefix" -name libscantk.so)"):${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH
compiler=$(of_build MPI_C_COMPILER)
library=(-L"${LD_LIBRARY_PATH%%:*}" -lscantk "${scalapack[@]}")

run_twice() { # runs it on one and on two ranks
  alone "$@"
  alone "${launcher[@]}" -n 2 "$@"
}

"$compiler" -std=c11 -Wall -Wextra -Werror logdet.c -Iprefix/include \
  "${library[@]}" -lm -o in-c
run_twice ./in-c m.onnx >expected
cat expected
grep -q '^30 x 30, info 0' expected && grep -q '^60 x 60, info 0' expected

fortran=$(dirname "$compiler")/$(basename "$compiler" | sed s/mpicc/mpifort/)
if command -v "$fortran" >/dev/null; then
  "$fortran" -Wall prefix/include/scantk/scantk.f90 logdet.f90 "${library[@]}" -o in-fortran
  run_twice ./in-fortran m.onnx | diff - expected
else
  echo "Fortran is left out: there is no mpifort"
fi

python=$(of_build Python3_EXECUTABLE)
PYTHONPATH=$folder/prefix/share/scantk/python
export PYTHONPATH
if ! "$python" -c 'import numpy' 2>log; then
  echo "Python is left out: there is no numpy"
elif ! "$python" -c 'import mpi4py' 2>log; then
  echo "Python on several ranks is left out: there is no mpi4py"
  alone "$python" logdet.py m.onnx one.h5 | diff - <(head -1 expected)
else
  run_twice "$python" logdet.py m.onnx | diff - expected
  alone "$python" logdet.py m.onnx one.h5 >log
fi
[ ! -e one.h5 ] || alone scantk info one.h5 | grep '^shape *\[10, 3, 10, 3\] f64'
