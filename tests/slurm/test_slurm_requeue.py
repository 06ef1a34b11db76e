#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
"""requeue.sbatch goes back into the queue before its limit and when it is preempted, goes on from
the finished tiles and ends with the bytes of a run that nobody disturbed; scancel ends it for good.

Runs are held (SIGSTOP) until the signal has come to all ranks: no case depends on how fast they
are."""
import sys

from cluster import Cluster, enter, until
from held import KERNEL, check, go_on, hold, let_go, make_inputs, start
from program import expect, run_cases

LIMIT = ["--time=20", "--signal=B:USR1@110"]


def limit(cluster, output, **variables):
    """SLURM itself sends USR1 before the limit, which comes close once the run is held."""
    job = start(cluster, output, options=LIMIT, **variables)
    ranks = hold(cluster, job, output)
    cluster.command("scontrol", "update", f"jobid={job.number}", "timelimit=2")

    def case():
        let_go(job, ranks)  # at the latest after the 30 s with which SLURM looks at limits
        job.wait("PENDING", timeout=120)
        cluster.command("scontrol", "update", f"jobid={job.number}", "timelimit=10")
        check(cluster, job, output, "stopped (USR1)")
    return case


def preemption(cluster):
    """A job of a higher partition needs the nodes: the run makes room, and goes on afterwards."""
    job = start(cluster, "preempted.h5", options=["--time=10", "--cpus-per-task=2"])
    ranks = hold(cluster, job, "preempted.h5")
    urgent = cluster.submit(
        "plain.sbatch", *KERNEL, "--range", "0:20", "--output", "urgent.h5",
        options=["--partition=urgent", "--nodes=2", "--ntasks=4", "--mem-per-cpu=500", "--time=5"])
    let_go(job, ranks)
    ended = urgent.must_complete(120)
    check(cluster, job, "preempted.h5", "stopped (USR1)")
    expect(ended["EndTime"] <= job.show()["StartTime"], "it has not made room")


def cancelled(cluster, output, **variables):
    """Its ranks stop, but it does not come back."""
    job = start(cluster, output, options=["--time=10"], **variables)
    ranks = hold(cluster, job, output)
    cluster.command("scancel", job.number)
    go_on(ranks)

    def case():
        until(lambda: not cluster.processes(SLURM_JOB_ID=job.number), "end of the job", 60)
        shown = job.show()
        expect((shown["JobState"], shown["Restarts"]) == ("CANCELLED", "0"), f"{job}")
    return case


def main():
    enter()
    with Cluster() as cluster:
        make_inputs(cluster.work)
        mpirun = {"SCANTK_LAUNCH": "mpirun"}
        failures = run_cases(lambda folder: [
            ("cancelled", cancelled(cluster, "cancelled.h5")),
            ("cancelled, mpirun", cancelled(cluster, "cancelled-mpirun.h5", **mpirun)),
            ("limit", limit(cluster, "limit.h5")),
            ("limit, mpirun", limit(cluster, "limit-mpirun.h5", **mpirun))])
        return failures + run_cases(lambda folder: [("preemption", lambda: preemption(cluster))])


if __name__ == "__main__":
    sys.exit(main())
