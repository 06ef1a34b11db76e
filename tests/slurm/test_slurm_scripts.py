#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts that run to their end, as a user submits them: they give the kernel of a run by hand,
and their logs show the ranks, hosts, threads, cores and memory that the job was given."""
import os
import re
import sys

from cluster import Cluster, enter
from program import SCANTK, expect, must, np, read, run_cases, write_data

INPUTS = ["--inputs", "data.h5", "--range", "0:90", "--block", "20"]
NETWORK = ["fcn", "--input", "30", "--width", "40", "--depth", "2", "--outputs", "3"]
# what sites set for their nodes, for these
PLAIN = ["--ntasks=2", "--nodes=2", "--time=5"]
WHOLE = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2", "--time=5"]
MPIRUN = {"SCANTK_LAUNCH": "mpirun"}
HOSTS = r"ranks +2 on n0 x1, n1 x1, "


def make_inputs(folder):
    """Data, a network and its kernel, computed outside SLURM."""
    random = np.random.default_rng(5)
    write_data(os.path.join(folder, "data.h5"), inputs=random.normal(size=(100, 30)))
    for seed in 0, 1:
        must(folder, "model", *NETWORK, "--seed", str(seed), "-o", f"by-hand-{seed}.onnx")
        must(folder, "kernel", "--model", f"by-hand-{seed}.onnx", *INPUTS, "--output",
             f"by-hand-{seed}.h5", "--write-plan", "plan.txt", ranks=2)


def check_kernel(folder, output, seed=0, threads=1):
    """Byte for byte, where it was computed with as many threads."""
    ours, by_hand = (read(os.path.join(folder, name), "kernel")
                     for name in (output, f"by-hand-{seed}.h5"))
    expect(np.array_equal(ours, by_hand) if threads == 1 else
           np.allclose(ours, by_hand, rtol=1e-5, atol=1e-5 * abs(by_hand).max()),
           f"{output} differs from the kernel computed by hand")


def normal_end(cluster, script, output, options, said, threads=1, **variables):
    """Submits, and gives the case that awaits the end."""
    job = cluster.submit(script, "--model", "by-hand-0.onnx", *INPUTS, "--plan", "plan.txt",
                         "--output", output, options=options, **variables)

    def case():
        job.must_complete(120)
        log = job.log()
        for text in said if cluster.isolated else said[1:]:
            expect(re.search(text, log), f"no '{text}' in the log:\n{log}")
        expect("allowed cores" not in log, f"fewer cores than threads:\n{log}")
        check_kernel(cluster.work, output, threads=threads)
    return case


def trap(cluster):
    """mpirun by itself, in a job with two cores for each rank, binds each rank to one of them."""
    job = cluster.submit("plain.sbatch", "--model", "by-hand-0.onnx", *INPUTS, "--output", "trap.h5",
                         options=[*PLAIN, "--cpus-per-task=2", "--mem-per-cpu=500"],
                         SCANTK_LAUNCH="env OMP_NUM_THREADS=2 mpirun")

    def case():
        job.must_complete(120)
        text = r"warning: 2 threads on 1 allowed cores: set OMP_NUM_THREADS=1"
        expect(re.search(text, job.log()), f"no '{text}' in the log:\n{job.log()}")
    return case


def not_joined(cluster):
    """Some MPIs make runs of one rank of what srun starts without the right --mpi."""
    text = cluster.command("bash", "-c", '"$@" 2>&1', "bash", "env", "SLURM_STEP_NUM_TASKS=2", SCANTK,
                           "kernel", "--model", "by-hand-0.onnx", *INPUTS, "--output", "one.h5")
    expect("warning: this is a run of one rank, but srun started 2" in text, text)


def array(cluster):
    options = ["--array=0-1", "--ntasks=1", "--time=5", "--mem-per-cpu=600"]
    job = cluster.submit("array.sbatch", *INPUTS, options=options, SCANTK_NETWORK=" ".join(NETWORK))

    def case():
        for seed in 0, 1:
            element = job.element(seed)
            element.must_complete(120)
            check_kernel(cluster.work, f"kernel-{seed}.h5", seed)
    return case


def cases(cluster):
    share = ["--mem-per-cpu=500"]
    threads = r"2 threads each, 2 cores allowed"
    yield "plain", normal_end(
        cluster, "plain.sbatch", "plain.h5", [*PLAIN, *share],
        [HOSTS, "1 thread each", r"of 400M a rank \(SLURM_MEM_PER_CPU\)"])
    yield "plain, mpirun", normal_end(
        cluster, "plain.sbatch", "plain-mpirun.h5", [*PLAIN, *share],
        [HOSTS, "1 thread each, 1 core allowed", r"of 400M a rank \(SLURM_MEM_PER_CPU\)"], **MPIRUN)
    yield "hybrid", normal_end(
        cluster, "hybrid.sbatch", "hybrid.h5", [*WHOLE, "--mem=1000"],
        [HOSTS, threads, r"of 800M a rank \(SLURM_MEM_PER_NODE\)"], 2)
    yield "hybrid, mpirun", normal_end(
        cluster, "hybrid.sbatch", "hybrid-mpirun.h5", [*WHOLE, "--mem=1000"],
        [HOSTS, threads, r"of 800M a rank \(SLURM_MEM_PER_NODE\)"], 2, **MPIRUN)
    yield "large memory", normal_end(
        cluster, "large-memory.sbatch", "large-memory.h5", WHOLE, [HOSTS, threads], 2,
        OMP_PROC_BIND="close")  # the main thread's own cores are then not all that count
    yield "array", array(cluster)
    yield "more threads than cores", trap(cluster)
    yield "not joined", lambda: not_joined(cluster)


def main():
    enter()
    with Cluster() as cluster:
        # Open MPI is to bind as it does by itself
        del cluster.environment["OMPI_MCA_hwloc_base_binding_policy"]
        del cluster.environment["OMPI_MCA_rmaps_base_oversubscribe"]
        make_inputs(cluster.work)
        return run_cases(lambda folder: cases(cluster))


if __name__ == "__main__":
    sys.exit(main())
