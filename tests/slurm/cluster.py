# SPDX-License-Identifier: Apache-2.0
"""A SLURM of two nodes on this machine, for the tests of scripts/slurm.

Where namespaces may be made (root), the test runs in its own: processes, network, mounts, host
name. Each node then has a network and a host name of its own, and the kernel ends every process
when the test ends, however it ends. Elsewhere both nodes are daemons of this host, on free ports.

Exits 77, skipped, where SLURM is not installed."""
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../program"))
from program import SCANTK, Failure, environment, expect  # noqa: E402

SCRIPTS = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                        "../../scripts/slurm"))
NODES = ("n0", "n1")
CPUS = 2  # of a node
ADDRESS = {"control": "10.77.0.1", "n0": "10.77.0.10", "n1": "10.77.0.11"}
INSIDE = "NTK_TEST_IN_NAMESPACES"
NAMESPACES = ["unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc", "--net",
              "--uts"]

CONFIGURATION = """
ClusterName=test
SlurmctldHost={control}
SlurmctldPort={control_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
MailProg=/bin/true
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdTimeout={node_timeout}
KillWait=5
ReturnToService=2
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def find_program(name):
    """The daemons stand in folders that are not in every user's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def enter():
    """Called first by each test: skips it without SLURM, and where namespaces can be made begins
    it anew inside them. bash is their first process because it reaps orphans."""
    if not all(map(find_program, ("munged", "slurmctld", "slurmd", "sbatch"))):
        print("skipped: SLURM is not installed (scripts/install-deps test)")
        sys.exit(77)
    links = "ip link add nodes type bridge && ip link add n0 type veth peer name w0"
    if INSIDE in os.environ or subprocess.run([*NAMESPACES, "sh", "-c", links], check=False,
                                              capture_output=True).returncode != 0:
        return
    os.environ[INSIDE] = "1"
    os.execvp(NAMESPACES[0], [*NAMESPACES, "bash", "-c", '"$@"; exit $?', "bash", sys.executable,
                              *sys.argv])


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def until(condition, what, timeout=60):
    """Waits for a true value, and returns it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise Failure(f"not within {timeout} s: {what() if callable(what) else what}")


class Job:
    """A batch job."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number

    def element(self, index):
        """Of an array."""
        return Job(self.cluster, f"{self.number}_{index}")

    def show(self):
        """What "scontrol show job" knows."""
        text = self.cluster.command("scontrol", "show", "job", self.number)
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def log(self):
        try:
            with open(self.show()["StdOut"], encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait(self, *states, timeout=60):
        """Until it is in one of the states; returns show()."""
        def reached():
            shown = self.show()
            return shown if shown["JobState"] in states else None
        return until(reached, lambda: f"job {self.number} {states}: {self}", timeout)

    def ranks(self):
        """The processes of the program."""
        def is_rank(number):
            try:
                with open(f"/proc/{number}/comm", encoding="utf-8") as file:
                    return file.read() == "scantk\n"
            except OSError:
                return False
        return [n for n in self.cluster.processes(SLURM_JOB_ID=self.number) if is_rank(n)]

    def must_complete(self, timeout=60):
        shown = self.wait("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL",
                          "OUT_OF_MEMORY", timeout=timeout)
        expect(shown["JobState"] == "COMPLETED", f"job {self.number}: {self}")
        return shown

    def __str__(self):
        shown = self.show()
        return f"{shown['JobState']} {shown['Reason']} {shown['ExitCode']}\n{self.log()[-3000:]}\n" + \
            self.cluster.daemon_logs()


class Cluster:
    """Two nodes n0 and n1 of two CPUs, partitions normal and urgent (which preempts normal). Use it
    as a context; it and its jobs are gone at the end."""

    def __init__(self, memory_mib=4000, node_timeout=300):
        self.isolated = INSIDE in os.environ
        self.folder = tempfile.mkdtemp(prefix="ntk-slurm-")
        self.work = os.path.join(self.folder, "work")  # where jobs are submitted and run
        self.daemons = {}
        self.environment = dict(
            environment(self.folder), SCANTK=SCANTK, SLURM_CONF=f"{self.folder}/slurm.conf")
        for name in ("state", "work", "tmp-n0", "tmp-n1", "spool-n0", "spool-n1"):
            os.mkdir(os.path.join(self.folder, name))
        self.configure(memory_mib, node_timeout)

    def configure(self, memory_mib, node_timeout):
        host = socket.gethostname().split(".")[0]
        nodes = "".join(
            f"NodeName={node} CPUs={CPUS} RealMemory={memory_mib} " +
            (f"NodeAddr={ADDRESS[node]} Port=6818\n" if self.isolated else
             f"NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()}\n") for node in NODES)
        control = f"control({ADDRESS['control']})" if self.isolated else f"{host}(127.0.0.1)"
        with open(f"{self.folder}/slurm.conf", "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(
                folder=self.folder, control=control, nodes=nodes, node_timeout=node_timeout,
                control_port=6817 if self.isolated else free_port(),
                user=pwd.getpwuid(os.getuid()).pw_name))

    def __enter__(self):
        try:
            if self.isolated:
                self.make_network()
            self.start_munge()
            self.start("slurmctld", "slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            until(lambda: self.node_states() == ["idle", "idle"],
                  lambda: f"{self.node_states()}\n{self.daemon_logs()}", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for process in self.daemons.values():
            process.kill()
        for process in self.daemons.values():
            process.wait()
        until(lambda: not self.kill(self.processes()), "end of all processes", 20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def node_states(self):
        return self.command("sinfo", "-h", "-N", "-p", "normal", "-o", "%T").split()

    def daemon_logs(self):
        text = ""
        for name in ("slurmctld", *NODES):
            with open(f"{self.folder}/{name}.log", encoding="utf-8", errors="replace") as file:
                text += f"{name}:\n" + "".join(file.readlines()[-10:])
        return text

    def make_network(self):
        """A bridge for the nodes, names for all addresses, and shared memory of its own, as MPI
        names segments by host and process: another cluster has the same of both."""
        names = os.path.join(self.folder, "hosts")
        with open(names, "w", encoding="utf-8") as file:
            file.write("127.0.0.1 localhost\n")
            file.writelines(f"{address} {name}\n" for name, address in ADDRESS.items())
        for command in (f"mount --bind {names} /etc/hosts", "mount -t tmpfs tmpfs /dev/shm",
                        "hostname control",
                        "ip link set lo up", "ip link add nodes type bridge",
                        f"ip address add {ADDRESS['control']}/24 dev nodes",
                        "ip link set nodes up"):
            subprocess.run(command.split(), check=True)

    def start(self, name, program, *words, **more):
        # the daemon's own output repeats its log file
        with open(f"{self.folder}/{name}.output", "a", encoding="utf-8") as output:
            self.daemons[name] = subprocess.Popen(
                [find_program(program), *words], stdout=output, stderr=output,
                env=dict(self.environment, **more.pop("env", {})), cwd=self.folder, **more)

    def start_munge(self):
        folder = self.folder
        with open(f"{folder}/munge.key", "wb") as file:
            os.chmod(file.fileno(), 0o600)
            file.write(os.urandom(64))
        self.start("munged", "munged", "--foreground", "--force", f"--key-file={folder}/munge.key",
                   f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
                   f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed")
        until(lambda: os.path.exists(f"{folder}/munge.socket"), "munged", 20)

    def start_node(self, node):
        """Its slurmd; with namespaces, in those of its own, joined to the bridge."""
        own = {"env": {"SLURMD_NODENAME": node}}  # how processes() knows a node's processes
        if not self.isolated:
            self.start(node, "slurmd", "-D", "-N", node, **own)
            return
        begin = (f"hostname {node}; read -r; ip link set lo up; ip link set eth0 up; "
                 f"ip address add {ADDRESS[node]}/24 dev eth0; "
                 f"exec {find_program('slurmd')} -D -N {node}")
        self.start(node, "unshare", "--net", "--uts", "--mount", "bash", "-c", begin,
                   stdin=subprocess.PIPE, **own)
        process = self.daemons[node]
        network = f"/proc/{process.pid}/ns/net"
        until(lambda: os.stat(network).st_ino != os.stat("/proc/self/ns/net").st_ino,
              f"namespaces of {node}", 20)
        hardware = f"02:00:00:00:00:0{NODES.index(node)}"  # it is the same when the node comes back
        for command in (f"ip link add {node} type veth peer name eth0 address {hardware} "
                        f"netns {process.pid}",
                        f"ip link set {node} master nodes up"):
            subprocess.run(command.split(), check=True)
        process.stdin.write(b"\n")
        process.stdin.close()

    def processes(self, **variables):
        """Numbers of the processes of this cluster, or of those that have such variables: daemons,
        what jobs have started, and the slurmstepd above it, whose title hides its variables."""
        variables["SLURM_CONF"] = f"{self.folder}/slurm.conf"
        wanted = {f"{name}={value}".encode() for name, value in variables.items()}
        found = set()
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/environ", "rb") as file:
                    if wanted.issubset(file.read().split(b"\0")):
                        found |= {int(number), *self.keeper(number)}
            except OSError:  # it has ended, or is somebody else's
                continue
        return found

    @staticmethod
    def keeper(number):
        """The slurmstepd that started a process, if one did."""
        with open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
            parent = file.read().rpartition(")")[2].split()[1]
        with open(f"/proc/{parent}/comm", encoding="utf-8") as file:
            return [int(parent)] if file.read() == "slurmstepd\n" else []

    @staticmethod
    def kill(numbers):
        for number in numbers:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return numbers

    def lose(self, node):
        """The node is gone at once, as by a loss of power: nobody says goodbye. What comes back is
        a new one: in the old spool a socket would keep SLURM 22 from repeating a job's step."""
        if self.isolated:
            subprocess.run(["ip", "link", "delete", node], check=True)
        until(lambda: not self.kill(self.processes(SLURMD_NODENAME=node)), f"end of {node}", 20)
        self.daemons.pop(node).wait()
        for name in (f"spool-{node}", f"tmp-{node}"):
            shutil.rmtree(os.path.join(self.folder, name))
            os.mkdir(os.path.join(self.folder, name))

    def command(self, *words):
        try:
            done = subprocess.run(words, env=self.environment, cwd=self.work, check=False,
                                  timeout=60, text=True, capture_output=True)
        except subprocess.TimeoutExpired:
            raise Failure(f"{' '.join(words)}: no answer\n{self.daemon_logs()}") from None
        if done.returncode != 0:
            raise Failure(f"{' '.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout

    def submit(self, script, *words, options=(), **variables):
        """One of scripts/slurm; words are its arguments, options those of sbatch."""
        done = subprocess.run(
            ["sbatch", "--parsable", *options, os.path.join(SCRIPTS, script), *words],
            env=dict(self.environment, **variables), cwd=self.work, check=False, timeout=60,
            text=True, capture_output=True)
        expect(done.returncode == 0, f"sbatch {script}: {done.stderr}")
        return Job(self, done.stdout.strip())
