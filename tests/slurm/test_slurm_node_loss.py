#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node of the job is lost in the middle of its tiles: SLURM queues requeue.sbatch again, and with
the node back it goes on from them and ends with the bytes of an undisturbed run."""
import sys

from cluster import Cluster, enter
from held import check, hold, make_inputs, start
from program import expect, run_cases


def node_loss(cluster):
    """Node n1 holds a rank of the job, and not the batch script. By srun: under mpirun the lost
    node's last messages, or its first ones when it is back, may end the job before SLURM knows."""
    job = start(cluster, "srun.h5", ["--time=10"])
    hold(cluster, job, "srun.h5")
    cluster.lose("n1")
    job.wait("PENDING", timeout=100)
    expect(job.show()["Restarts"] == "1", f"not queued again: {job}")
    cluster.start_node("n1")
    return [("srun", lambda: check(cluster, job, "srun.h5", "DUE TO NODE FAILURE"))]


def main():
    enter()
    with Cluster(node_timeout=10) as cluster:
        make_inputs(cluster.work)
        return run_cases(lambda folder: node_loss(cluster))


if __name__ == "__main__":
    sys.exit(main())
