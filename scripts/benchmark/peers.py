# SPDX-License-Identifier: Apache-2.0
"""Other software on the same networks: neural-tangents in a virtual environment of its own, and
functorch or torch.func of the system's torch."""
import dataclasses
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# The last versions that work together; it fails on jax >= 0.4.30.
NEEDS = ["jax==0.4.25", "jaxlib==0.4.25", "numpy<2", "scipy<1.13", "frozendict",
         "typing_extensions"]
NEURAL_TANGENTS = "neural-tangents==0.6.5"
IMPLEMENTATIONS = {3: "structured", 2: "ntvp", 1: "jacobian"}


@dataclasses.dataclass
class Result:
    """Seconds per pair by the best way and batch size, or why there are none."""
    seconds: float = None
    how: str = ""


def last_line(text, otherwise):
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip()[:100] if lines else otherwise


def cache_folder():
    own = os.environ.get("SCANTK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(own or os.path.join(base, "scantk"), "bench")


def python_of_neural_tangents(say):
    """Its interpreter, installed from PyPI unless it is there; (None, why) where it cannot be."""
    folder = os.path.join(cache_folder(), NEURAL_TANGENTS)
    python, mark = os.path.join(folder, "bin", "python"), os.path.join(folder, "installed")
    if os.path.exists(mark):
        return python, ""
    say(f"installing {NEURAL_TANGENTS} in {folder}")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", folder], [*pip, *NEEDS],
                    [*pip, "--no-deps", NEURAL_TANGENTS]):
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False,
                                   timeout=900)
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"cannot be installed: {error}"
        if ended.returncode != 0:
            return None, "cannot be installed: " + last_line(ended.stderr or ended.stdout, "pip")
    with open(mark, "w", encoding="ascii"):
        pass
    return python, ""


def time_peer(python, script, asked, core):
    """[(n, seconds per pair)] of the batches that were timed before the end or the limit, and the
    last word on failure. Compilation of the last batch may outlast the limit by half."""
    command = [python, os.path.join(HERE, script), json.dumps(asked)]
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("OPENBLAS_", "OMP_"))}
    env.update(PYTHONDONTWRITEBYTECODE="1", JAX_PLATFORMS="cpu",
               OMP_NUM_THREADS=str(asked["threads"]))
    if core:
        env["OPENBLAS_CORETYPE"] = core
    try:
        ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False,
                               timeout=1.5 * asked["seconds"] + 30)
        out, why = ended.stdout, last_line(ended.stderr, f"exit {ended.returncode}")
    except subprocess.TimeoutExpired as expired:
        out = (expired.stdout or b"").decode()
        why = f"more than {1.5 * asked['seconds'] + 30:.0f} s"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [(line["n"], line["seconds_per_pair"]) for line in lines], why


class Peers:
    def __init__(self, threads, seconds, core, say):
        """seconds: for each case and way; core: the kernels of OpenBLAS that our program chose."""
        self.threads, self.seconds, self.core, self.say = threads, seconds, core, say
        self.python, self.why = python_of_neural_tangents(say)

    def ask(self, case, n, **more):
        return dict(family=case.family, options=case.options, reduce=case.reduce,
                    dtype=case.dtype, most=n, seconds=self.seconds, threads=self.threads, **more)

    def neural_tangents(self, case, n):
        """The best of its three implementations."""
        if not self.python:
            return Result(how=self.why)
        best, reasons = Result(), []
        for number, name in IMPLEMENTATIONS.items():
            self.say(f"{case.name}: neural-tangents, {name}")
            timed, why = time_peer(self.python, "peer_neural_tangents.py",
                                   self.ask(case, n, implementation=number), self.core)
            if not timed:
                reasons.append(f"{name}: {why}")
            for batch, seconds in timed:
                if best.seconds is None or seconds < best.seconds:
                    best = Result(seconds, f"{name}, n = {batch}")
        return best if best.seconds else Result(how="; ".join(reasons))

    def functorch(self, case, n):
        if case.family != "fcn" or case.reduce not in ("none", "trace"):
            return Result(how="-")
        self.say(f"{case.name}: functorch")
        timed, why = time_peer(sys.executable, "peer_functorch.py", self.ask(case, n),
                               self.core)
        if not timed:
            return Result(how=why)
        batch, seconds = min(timed, key=lambda one: one[1])
        return Result(seconds, f"n = {batch}")
