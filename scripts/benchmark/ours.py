# SPDX-License-Identifier: Apache-2.0
"""Runs of our own program, what its log says, and the rates of the machine it runs on."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    """A run that did not end as it must; the text is its last word."""


class Unfit(Failure):
    """A run refused: an option, a family or a plan that this program does not take."""


def last_line(text):
    lines = [line for line in text.splitlines() if line.startswith("scantk: ")]
    return (lines or text.splitlines() or ["no message"])[-1].replace("scantk: error: ", "")


def parse_log(text):
    """Figures of the end of a log. gflops: {phase: rate}; seconds: {phase: longest of a rank};
    predicted: {phase: seconds}; "whole" is a phase of these."""
    log = {"gflops": {}, "gflop": {}, "seconds": {}, "predicted": {}}
    number = r"(\d\S*)"
    for line in text.splitlines():
        rate = re.match(rf"(\w+) +{number} Gflop +{number} GFLOP/s", line)
        phase = re.match(rf"(\w[\w ]*\w) +{number} +{number} +{number} +(\d\S*|-)$", line)
        whole = re.match(rf"whole +{number} +{number}$", line)
        if rate:
            log["gflop"][rate[1]], log["gflops"][rate[1]] = float(rate[2]), float(rate[3])
        elif whole:
            log["seconds"]["whole"], log["predicted"]["whole"] = float(whole[1]), float(whole[2])
        elif phase:
            log["seconds"][phase[1]] = float(phase[4])
            if phase[5] != "-":
                log["predicted"][phase[1]] = float(phase[5])
    for phase in ("sweeps", "contraction", "whole"):
        if phase not in log["gflops"] or phase not in log["seconds"]:
            raise Failure(f"the log has no line of {phase}")
    return log


class Program:
    """scantk with a folder for its files and caches: rates are measured anew in each folder."""

    def __init__(self, work, cores):
        self.path = os.path.abspath(os.environ["SCANTK"])
        self.work, self.cores = work, cores
        if not os.access(self.path, os.X_OK):
            raise Failure(f"{self.path}: there is no program")
        self.blas_core = None
        libraries = subprocess.run(["ldd", self.path], capture_output=True, text=True,
                                   check=False).stdout
        found = re.search(r"(\S*/\S*blas\S*) \(", libraries)
        self.blas = found[1] if found else None
        self.version = self.words("--version").strip().splitlines()[0]

    def file(self, name):
        return os.path.join(self.work, name)

    def environment(self, threads):
        """Without the choices of the caller: the program's own count."""
        env = {key: value for key, value in os.environ.items()
               if not key.startswith(("OPENBLAS_", "OMP_", "SCANTK_"))}
        env.update(SCANTK_CACHE=self.file("cache"), OMP_NUM_THREADS=str(threads),
                   OPENBLAS_NUM_THREADS=str(threads), OMPI_MCA_rmaps_base_oversubscribe="1",
                   OMPI_MCA_hwloc_base_binding_policy="none",
                   OMPI_MCA_orte_tmpdir_base=tempfile.mkdtemp(dir=self.work))
        if os.geteuid() == 0:
            env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        return env

    def run(self, *words, ranks=1, threads=1, limit=None):
        """Returns stdout and stderr; `limit` in seconds."""
        launcher = []
        if ranks > 1:
            launcher = [os.environ.get("MPIEXEC_EXECUTABLE", "mpirun"),
                        *shlex.split(os.environ.get("MPIEXEC_PREFLAGS", "")), "-n", str(ranks)]
        env = self.environment(threads)
        try:
            ended = subprocess.run([*launcher, self.path, *words], cwd=self.work, text=True, env=env,
                                   capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"more than {limit:.0f} s") from None
        finally:
            shutil.rmtree(env["OMPI_MCA_orte_tmpdir_base"], ignore_errors=True)
        if ended.returncode != 0:
            raise (Unfit if ended.returncode == 2 else Failure)(last_line(ended.stderr))
        return ended.stdout, ended.stderr

    def words(self, *words):
        return self.run(*words)[0]

    # ---- what a case needs -----------------------------------------------------------------

    def model(self, case):
        path = self.file(case.network + ".onnx")
        if not os.path.exists(path):
            options = [word for key, value in case.options.items()
                       for word in (f"--{key}", str(value))]
            self.words("model", case.family, *options, "--seed", "0", "-o", path)
        return path

    def images(self, case, n):
        """Random images, as many as asked for before or more."""
        path = self.file(f"images-{case.options['input']}-{n}.npy")
        if not os.path.exists(path):
            generator = np.random.default_rng(0)
            np.save(path, generator.standard_normal((n, *case.sample_shape), dtype=np.float32))
        return path

    def kernel(self, case, n, layout, *words, inputs=None, limit=None):
        """One run of n samples, its file removed; the figures of its log."""
        output = self.file("kernel.h5")
        ranks, threads = layout
        try:
            _, log = self.run(
                "kernel", "--model", self.model(case), "--inputs", inputs or self.images(case, n),
                "--range", f"0:{n}", "--reduce", case.reduce, "--dtype", case.dtype, "--output",
                output, *words, ranks=ranks, threads=threads, limit=limit)
        finally:
            for end in ("", ".part", ".new"):
                if os.path.exists(output + end):
                    os.remove(output + end)
        core = re.search(r"^ranks .* OpenBLAS \S+ (\w+)$", log, re.MULTILINE)
        self.blas_core = core[1] if core else None
        return parse_log(log)

    # ---- the machine -----------------------------------------------------------------------

    def rates(self, size, *what):
        """{"s": sgemm, "d": dgemm in GFLOP/s, "copy": GB/s}, by the program's own BLAS with the
        kernels it chose in its last run."""
        if not self.blas:
            raise Failure("which BLAS the program takes cannot be seen (ldd)")
        env = self.environment(self.cores)
        if self.blas_core:
            env["OPENBLAS_CORETYPE"] = self.blas_core
        ended = subprocess.run([sys.executable, os.path.join(HERE, "rates.py"), self.blas,
                                str(self.cores), str(size), *what], env=env, text=True,
                               capture_output=True, check=False)
        if ended.returncode != 0:
            raise Failure("rates: " + (ended.stderr.splitlines() or ["no message"])[-1])
        return json.loads(ended.stdout)


def instruction_set():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = file.read().split()
    except OSError:
        flags = []
    for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")):
        if flag in flags:
            return name
    return os.uname().machine
