"""A real Slurm of one node, started for the session and stopped after it: no cgroups, no accounting, no systemd."""

import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

FOREIGN = ("SLURM", "SBATCH", "SQUEUE", "OMP_", "NUMBA_")
STUB = Path(__file__).parents[2] / "packages" / "pb-cli" / "tests" / "stub_pb.py"
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=10
MaxArraySize=5
MinJobAge=300
OverTimeLimit=0
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,max_rpc_cnt=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


class Cluster(NamedTuple):
    """The running Slurm: its folder, and what commands need to reach it."""

    folder: Path
    environment: dict[str, str]
    stub: Path = STUB

    def __call__(self, *command: object, check: bool = True) -> str:
        """Run a command beside this Slurm and return what it prints."""
        words = list(map(str, command))
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=100, cwd=self.folder
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def pb(self, *arguments: object, check: bool = True) -> str:
        """Run pb with a stub for the training."""
        return self(sys.executable, STUB, *arguments, check=check)

    def wait(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for something to happen."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self("squeue", "--array", "--states=all")
            time.sleep(0.2)

    def is_idle(self) -> bool:
        """Whether no job waits or runs."""
        return not self("squeue", "--noheader").strip()


def free_ports(number: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def make_run() -> Callable:
    """Plan tasks of the stub."""
    return runpy.run_path(str(STUB.with_name("stub_runs.py")))["make_run"]


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """The Slurm, with nothing left in its queue afterwards."""
    yield running_cluster
    running_cluster("scancel", "--user=root", check=False)
    running_cluster.wait(running_cluster.is_idle)


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    config = CONFIG.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=free_ports(2))
    (folder / "slurm.conf").write_text(config)
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = own | {"SLURM_CONF": str(folder / "slurm.conf"), "PB_SITE": str(folder / "site.toml")}
    environment["COLUMNS"] = "200"  # sentences in tables stay on a line
    (folder / "site.toml").write_text(f"pb = '{sys.executable} {STUB}'\n")
    cluster = Cluster(folder, environment)
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    cluster("munged", "--force", *(f"--{flag}={folder / 'munge'}.{end}" for flag, end in names.items()))
    try:
        cluster("slurmctld")
        cluster("slurmd")
        cluster.wait(lambda: "idle" in cluster("sinfo", "--noheader", "--format=%t", check=False))
        yield cluster
    finally:
        for name in ("slurmd.pid", "slurmctld.pid", "munge.pid"):
            stop(folder / name)


def stop(path: Path) -> None:
    """End the process whose number a file holds, and wait for it."""
    if not path.is_file():
        return
    pid = int(path.read_text())
    os.kill(pid, 15)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    os.kill(pid, 9)
