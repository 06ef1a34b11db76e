# SPDX-License-Identifier: Apache-2.0
"""Runs of requeue.sbatch that are interrupted at a moment that does not depend on their speed."""
import os
import re
import signal

from cluster import until
from program import expect, h5py, must, np, read, write_data

NODES = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=1000"]
KERNEL = ["--model", "net.onnx", "--inputs", "data.h5", "--block", "10", "--reduce", "trace"]


def make_inputs(folder):
    """Data, a network and its kernel, computed without disturbance: of some seconds."""
    must(folder, "model", "fcn", "--input", "5", "--width", "1000", "--depth", "1", "--outputs", "10",
         "-o", "net.onnx")
    write_data(os.path.join(folder, "data.h5"), inputs=np.random.default_rng(2).normal(size=(700, 5)))
    must(folder, "kernel", *KERNEL, "--output", "undisturbed.h5", "--write-plan", "plan.txt", ranks=2)


def start(cluster, output, options, **variables):
    return cluster.submit("requeue.sbatch", *KERNEL, "--plan", "plan.txt", "--output", output,
                          options=[*NODES, *options], **variables)


def tiles_done(path):
    try:
        return int(read(path, "tiles/done").sum())
    except OSError:  # not there yet
        return 0


def hold(cluster, job, output):
    """Stops its ranks in the middle of the tiles; returns them."""
    part = os.path.join(cluster.work, output + ".part")
    until(lambda: tiles_done(part), lambda: f"tiles of {output}: {job}", 120)
    ranks = job.ranks()
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)
    expect(len(ranks) == 2 and os.path.exists(part), f"{output}: not held: {job}")
    return ranks


def is_asked(rank):
    """A stop is asked for by a signal that waits until it goes on."""
    with open(f"/proc/{rank}/status", encoding="utf-8") as file:
        pending = int(re.search(r"ShdPnd:\s*(\w+)", file.read())[1], 16)
    return any(pending >> (number - 1) & 1 for number in (signal.SIGUSR1, signal.SIGTERM))


def let_go(job, ranks):
    """Once a request to stop has come to every one of them."""
    until(lambda: all(map(is_asked, ranks)), lambda: f"a request to stop for all ranks: {job}", 100)
    go_on(ranks)


def go_on(ranks):
    for rank in ranks:
        os.kill(rank, signal.SIGCONT)


def check(cluster, job, output, reason):
    """It has been queued again, has gone on, and is complete and right."""
    shown = job.must_complete(150)
    expect(int(shown["Restarts"]) >= 1, f"not queued again: {job}")
    log = job.log()
    expect(reason in log, f"no '{reason}' in the log:\n{log}")
    resumed = re.search(r"resumed +(\d+) of (\d+) tiles", log)
    expect(resumed and 0 < int(resumed[1]) < int(resumed[2]), f"not resumed:\n{log}")
    paths = [os.path.join(cluster.work, name) for name in (output, "undisturbed.h5")]
    expect(np.array_equal(*(read(path, "kernel") for path in paths)),
           f"{output} differs from an undisturbed run")
    with h5py.File(paths[0], "r") as file:
        expect(file.attrs["complete"] == 1, f"{output}: not complete")
