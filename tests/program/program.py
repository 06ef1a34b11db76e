# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: running it as a user does, small inputs, counting failures.

Environment: SCANTK (the program), MPIEXEC_EXECUTABLE, MPIEXEC_PREFLAGS, SCANTK_TEST_MAX_RANKS.
Exits 77, skipped, where h5py or numpy are missing."""
import concurrent.futures
import ctypes
import ctypes.util
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(HERE, "../../build/bin/scantk")))
MAX_RANKS = int(os.environ.get("SCANTK_TEST_MAX_RANKS", "6"))
TIMEOUT = 100  # seconds; what takes longer hangs
SESSIONS = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


class Failure(Exception):
    """A run that did not end as it must."""


def launcher(ranks):
    if ranks == 1:
        return []
    mpiexec = os.environ.get("MPIEXEC_EXECUTABLE", "mpirun")
    return [mpiexec, *shlex.split(os.environ.get("MPIEXEC_PREFLAGS", "")), "-n", str(ranks)]


def environment(folder):
    """That of the caller, less what would change results or messages. Open MPI 4 removes its folder
    at the end of a run even while the next one begins in it: each run has its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SCANTK_"))}
    return dict(inherited, SCANTK_CACHE=os.path.join(folder, "cache"), OMP_NUM_THREADS="1",
                OPENBLAS_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1",
                OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_hwloc_base_binding_policy="none",
                OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=SESSIONS.name))


def own_lines(text):
    """The program's lines of stderr: without those of mpirun, and the boxes it draws."""
    lines, boxed = [], False
    for line in text.splitlines():
        if len(line) > 20 and set(line) <= {"-", "="}:
            boxed = not boxed
        elif line.startswith("scantk: ") or (
                line.strip() and not boxed and not re.match(r"mpi[\w.]+: ", line)):
            lines.append(line)
    return lines


class Ended:
    """A run that has ended: code, out, err (the program's own lines)."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, own_lines(err)

    def __str__(self):
        return f"{' '.join(self.words)}\n  exit {self.code}: " + "\n  ".join(self.err[-8:])


class Started:
    """A run under way, in a process group of its own, so that a hang leaves nobody behind."""

    def __init__(self, folder, *words, ranks=1, variables=None):
        self.words = [f"[{ranks} ranks]", "scantk", *words]
        self.process = subprocess.Popen(
            [*launcher(ranks), SCANTK, *words], cwd=folder, text=True,
            env=dict(environment(folder), **(variables or {})), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, timeout=TIMEOUT):
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise Failure(f"{' '.join(self.words)}: hangs") from None
        return Ended(self.words, self.process.returncode, out, err)


def run(folder, *words, ranks=1, variables=None):
    return Started(folder, *words, ranks=ranks, variables=variables).end()


def must(folder, *words, ranks=1, variables=None):
    """A run that must succeed; `variables` of the environment are added."""
    ended = run(folder, *words, ranks=ranks, variables=variables)
    if ended.code != 0:
        raise Failure(str(ended))
    return ended


def expect(condition, message):
    if not condition:
        raise Failure(message)


def read(path, name):
    with h5py.File(path, "r") as file:
        return file[name][()]


def write_data(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def values_of(model, name):
    """Where the elements of a parameter stand in the bytes of a model: first, end."""
    field = b"\x42" + bytes([len(name)]) + name.encode() + b"\x4a"  # its name, then raw_data
    found = re.search(re.escape(field), model)
    at, size, shift = found.end(), 0, 0
    while True:
        size |= (model[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if model[at - 1] < 128:
            return at, at + size


def find_xxh3():
    library = ctypes.util.find_library("xxhash")
    if not library:
        return None
    function = ctypes.CDLL(library).XXH3_64bits
    function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_uint64
    return function


XXH3 = find_xxh3()


def check_checksums(path):
    """Of each tile that is done: XXH3-64 of its valid elements. Skipped without libxxhash."""
    with h5py.File(path, "r") as file:
        chunk, values = file["kernel"].chunks, file["kernel"][()]
        done, checksums = file["tiles/done"][()], file["tiles/checksum"][()]
    for tile in map(tuple, np.argwhere(done)) if XXH3 else ():
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(tile, chunk))].tobytes()
        expect(checksums[tile] == XXH3(part, len(part)), f"{path}: checksum of tile {tile}")


def run_cases(cases):
    """cases(folder): pairs (name, function), run side by side in a temporary folder that they
    share. The exit code: 1 where any fails, named with its reason."""
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        todo = list(cases(folder))
        with concurrent.futures.ThreadPoolExecutor(max(3, (os.cpu_count() or 2) // 2)) as pool:
            futures = [(name, pool.submit(function)) for name, function in todo]
        for name, future in futures:
            problem = future.exception()
            if isinstance(problem, (Failure, OSError, KeyError, ValueError)):
                failures += 1
                print(f"FAIL {name}: {problem}")
            elif problem:
                raise problem
    print(f"{len(todo)} cases, {failures} failures")
    return 1 if failures else 0
