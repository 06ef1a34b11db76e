# SPDX-License-Identifier: Apache-2.0
"""What the studies share: runs of scantk. SCANTK names the program (default build/bin/scantk),
SCANTK_LAUNCH what starts ranks ("mpirun -n 4" by default, with the number asked for)."""
import os
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCANTK = os.path.abspath(os.environ.get("SCANTK", os.path.join(ROOT, "build/bin/scantk")))
PLOT = os.path.join(ROOT, "scripts/plot")


class Failure(Exception):
    """A run that failed, with its last line."""


def launcher(ranks):
    asked = os.environ.get("SCANTK_LAUNCH")
    if asked:
        return shlex.split(asked)
    return ["mpirun", "-n", str(ranks)] if ranks > 1 else []


def environment(session):
    """One thread a rank unless told otherwise: the networks are small, the ranks many. Open MPI 4
    removes its folder at the end of a run although others use it: a run alone has its own."""
    return dict({"OMP_NUM_THREADS": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
                 "OMPI_MCA_hwloc_base_binding_policy": "none"},
                **({"OMPI_MCA_orte_tmpdir_base": session} if session else {}), **os.environ)


def last_words(text):
    """Of a failed run: its first error, the others follow from it."""
    lines = [line for line in text.splitlines() if line.startswith("scantk: error: ")]
    return (lines or text.splitlines()[-1:] or ["no message"])[0]


def run(command, folder):
    alone = command[0] == SCANTK
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as session:
        return subprocess.run(command, cwd=folder, env=environment(session if alone else None),
                              text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def scantk(folder, *words, ranks=0):
    """Its output; `ranks` > 0: started by the launcher."""
    if not os.access(SCANTK, os.X_OK):
        raise Failure(f"{SCANTK}: there is no program; build it (scripts/quickstart) or set SCANTK")
    ended = run([*(launcher(ranks) if ranks else []), SCANTK, *map(str, words)], folder)
    if ended.returncode != 0:
        raise Failure(f"{last_words(ended.stderr)}\n  in: scantk {shlex.join(map(str, words))}")
    return ended.stdout


def sweep(folder, rows, words, ranks, each=1):
    """Kernels of many networks in one run: rows are pairs of model and output, both names in the
    folder. What is there already is kept, so that a study that was stopped goes on."""
    with open(os.path.join(folder, "list.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{model} - {output}\n" for model, output in rows)
    scantk(folder, "kernel", "--sweep", "list.txt", "--ranks-per-kernel", each, "--quiet",
           "--resume", *words, ranks=ranks)


def draw(kind, table, picture):
    """False where no picture can be made: the reason has been said."""
    return subprocess.run([sys.executable, PLOT, kind, table, "-o", picture],
                          check=False).returncode == 0


def say(text):
    print(text, file=sys.stderr, flush=True)
