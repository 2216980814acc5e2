"""A phase diagram shared by many processes, and by the jobs of a real Slurm cluster."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from rulerlab.cli import main

ASKED = ["--knob", "dropout", "--values", "0,0.28", "--alphas", "0,1", "--seeds", "2",
         "--data", "gaussian", "--samples", "200", "--epochs", "2", "--width", "16",
         "--depth", "4"]


def phase_network(folder, *more):
    """Exit code of `rulerlab phase network` for the small grid."""
    with pytest.raises(SystemExit) as stop:
        main(["phase", "network", *ASKED, "-o", str(folder), *more])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """phase.csv of one process that trains all."""
    folder = tmp_path_factory.mktemp("whole")
    assert phase_network(folder) == 0
    return (folder / "phase.csv").read_text()


def test_parts_together_make_the_diagram_that_one_process_makes(whole, tmp_path, capsys):
    for part in ("2/3", "1/3"):
        assert phase_network(tmp_path, "--part", part) == 0
    tables = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert tables == ["phase.part-1-of-3.csv", "phase.part-2-of-3.csv"]
    trained = sum(len(path.read_text().splitlines()) - 1 for path in tmp_path.glob("*.csv"))
    assert trained == 6 and len(whole.splitlines()) - 1 == 8
    assert phase_network(tmp_path) == 0  # gathers both, and trains what nobody did
    assert (tmp_path / "phase.csv").read_text() == whole


def test_a_part_does_nothing_twice_and_a_part_cut_short_is_made_whole(whole, tmp_path, capsys):
    assert phase_network(tmp_path, "--part", "1/2") == 0
    table = tmp_path / "phase.part-1-of-2.csv"
    before = table.read_text()
    table.write_text(before[:-40])  # killed while it wrote its last row
    assert phase_network(tmp_path, "--part", "1/2") == 0
    assert table.read_text() == before
    assert set(before.splitlines()) <= set(whole.splitlines())


@pytest.mark.parametrize("part", ["0/4", "5/4", "3", "a/b", "-1/4", "1/0"])
def test_a_part_that_is_none_is_refused(part, tmp_path, capsys):
    assert phase_network(tmp_path, "--part", part) == 2
    assert "K/N" in capsys.readouterr().err


def test_parts_of_another_recipe_are_not_mixed(tmp_path, capsys):
    assert phase_network(tmp_path, "--part", "1/2") == 0
    assert phase_network(tmp_path, "--part", "2/2", "--epochs", "3") == 2
    assert "another recipe" in capsys.readouterr().err
    assert phase_network(tmp_path, "--part", "2/2", "--force") == 2


CONF = """ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
NodeName=localhost NodeHostname={name} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=lab Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    with contextlib.ExitStack() as doors:
        taken = [doors.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [door.getsockname()[1] for door in taken]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one node on this machine; the environment in which its commands find it."""
    programs = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
                for name in ("munged", "slurmctld", "slurmd", "sbatch")]
    if not all(programs) or os.geteuid() != 0:
        assert not os.environ.get("RULERLAB_REQUIRE_SLURM"), "no Slurm, although it must be"
        pytest.skip("Slurm is not installed (apt install slurm-wlm munge), or this is not root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(np.random.default_rng().bytes(1024))
    key.chmod(0o400)
    (folder / "slurm.conf").write_text(
        CONF.format(folder=folder, ports=free_ports(2), name=socket.gethostname().split(".")[0]))
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
             f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log",
             f"--seed-file={folder}/munge.seed"]
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with contextlib.ExitStack() as servers:
        for program, options in zip(programs, (munge, ["-D"], ["-D"]), strict=False):
            server = subprocess.Popen([program, *options], env=environment, cwd=folder,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            servers.callback(server.wait)
            servers.callback(server.terminate)
        idle = ["sinfo", "--noheader", "--format=%T"]
        wait(lambda: "idle" in subprocess.run(idle, env=environment, capture_output=True,
                                              text=True).stdout)
        yield environment


def wait(done, patience_s=60.0):
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, "the cluster does not answer"
        time.sleep(0.2)


@pytest.mark.slurm
def test_the_jobs_of_a_slurm_array_make_the_same_diagram(slurm, whole, tmp_path, capsys):
    command = " ".join([sys.executable, "-m", "rulerlab", "phase", "network", *ASKED, "--threads",
                        "1", "--part", "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT", "-o",
                        str(tmp_path / "map")])
    submitted = subprocess.run(
        ["sbatch", "--wait", "--array=1-2", f"--output={tmp_path}/%a.log", f"--wrap={command}"],
        env=slurm | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
        timeout=240)
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert submitted.returncode == 0, submitted.stderr + logs
    parts = sorted((tmp_path / "map").glob("phase.part-*-of-2.csv"))
    assert [len(part.read_text().splitlines()) - 1 for part in parts] == [4, 4]
    assert phase_network(tmp_path / "map") == 0
    assert (tmp_path / "map" / "phase.csv").read_text() == whole
