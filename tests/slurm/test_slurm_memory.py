#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs whose memory is enforced: a run keeps within it by itself; one that is told to take more is
killed, which the log says, is not queued again, and leaves a file with the tiles that were done."""
import os
import re
import sys

from cluster import Cluster, enter, until
from program import expect, h5py, must, np, read, run_cases, write_data

# what SLURM allows here is less than the samples' factors take, at ten outputs of 10,000 values each
NODES = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=400", "--time=5"]
KERNEL = ["--model", "wide.onnx", "--inputs", "data.h5", "--block", "10", "--reduce", "trace"]
MPIRUN = {"SCANTK_LAUNCH": "mpirun"}


def make_inputs(folder):
    must(folder, "model", "fcn", "--input", "5", "--width", "10000", "--depth", "1", "--outputs",
         "10", "-o", "wide.onnx")
    write_data(os.path.join(folder, "data.h5"),
               inputs=np.random.default_rng(1).normal(size=(2000, 5)))


def keeps_within(cluster, **variables):
    """By default it takes 4/5 of the job's memory, which its panels would otherwise exceed."""
    output = f"within-{len(variables)}.h5"
    job = cluster.submit("hybrid.sbatch", *KERNEL, "--range", "0:300", "--dtype", "f64", "--output",
                         output, options=NODES, **variables)

    def case():
        job.must_complete(150)
        expect("of 320M a rank (SLURM_MEM_PER_NODE)" in job.log(), job.log())
        expect(np.isfinite(read(os.path.join(cluster.work, output), "kernel")).all(), "not finite")
    return case


def killed(cluster, **variables):
    """--memory says more than the job has."""
    output = f"killed-{len(variables)}.h5"
    job = cluster.submit("requeue.sbatch", *KERNEL, "--dtype", "f64", "--memory", "3G", "--output",
                         output, options=NODES, **variables)

    def case():
        shown = job.wait("FAILED", "CANCELLED", "OUT_OF_MEMORY", timeout=150)
        expect(shown["Restarts"] == "0", f"queued again: {job}")
        # of a step that its node ends first, or of the job that another node's loss ended
        says = re.compile("exceeded (job )?memory limit", re.IGNORECASE)
        until(lambda: says.search(job.log()), lambda: f"the log doesn't say why: {job}", 20)
        with h5py.File(os.path.join(cluster.work, output + ".part"), "r") as file:
            expect(file.attrs["complete"] == 0, f"{output}.part: complete")
    return case


def main():
    enter()
    with Cluster() as cluster:
        make_inputs(cluster.work)
        return run_cases(lambda folder: [
            ("killed", killed(cluster)), ("killed, mpirun", killed(cluster, **MPIRUN)),
            ("keeps within", keeps_within(cluster)),
            ("keeps within, mpirun", keeps_within(cluster, **MPIRUN))])


if __name__ == "__main__":
    sys.exit(main())
