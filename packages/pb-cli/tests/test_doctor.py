"""`pb doctor`: what it finds, what it calls broken, and that it never waits long."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pb_cli import checkup

TOPICS = {"versions", "devices", "threads", "caches", "slurm", "plug-ins", "disk"}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A machine without Slurm, with a cache and a site file of its own."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PB_SITE", raising=False)
    for name in checkup.VARIABLES:
        monkeypatch.setenv(name, "1")


def command(folder: Path, name: str, *lines: str) -> None:
    """Put a shell script on the path."""
    (folder / "bin").mkdir(exist_ok=True)
    file = folder / "bin" / name
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)


def broken(findings) -> dict[str, str]:
    return {f"{f.topic} {f.name}": f.mend for f in findings if f.state == "broken"}


def test_a_sound_machine_has_every_topic_and_exit_code_0(pb):
    result = pb("doctor", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["broken"] == 0
    assert {finding["topic"] for finding in told["findings"]} == TOPICS
    found = {finding["name"]: finding["value"] for finding in told["findings"]}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "anndata", "scanpy", *checkup.MEMBERS} <= found.keys()
    assert found["OMP_NUM_THREADS"] == "1"
    text = pb("doctor").stdout
    assert all(f"  {name}: " in text for name in found)


def test_packages_of_several_versions_are_broken(pb, monkeypatch):
    monkeypatch.setattr(checkup, "version", lambda name: "0.0.9" if name == "pb-eval" else "9.9")
    assert broken(checkup.versions()) == {"versions pb-eval": "the five packages go together: pip install pb-eval==9.9"}
    result = pb("doctor")
    assert result.exit_code == 1
    assert "broken: 0.0.9, pb-cli is 9.9" in result.stdout
    assert "pip install pb-eval==9.9" in result.stdout
    assert "1 broken" in result.stderr


def test_a_missing_package_is_broken(monkeypatch):
    def version(name):
        if name == "scanpy":
            raise checkup.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(checkup, "version", version)
    assert broken(checkup.versions()) == {"versions scanpy": "pip install scanpy"}


@pytest.mark.parametrize(
    ("told", "state"), [("1", "ok"), ("", "ok"), ("100000", "note"), ("many", "broken"), ("0", "broken")]
)
def test_threads(monkeypatch, told, state):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    first = next(checkup.threads())
    assert (first.name, first.state) == ("OMP_NUM_THREADS", state)
    assert bool(first.mend) == (state != "ok")


def test_fewer_cores_than_the_machine_has_are_a_note(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    first = next(checkup.devices())
    assert (first.value, first.state) == ("1 of 64 cores", "note")


@pytest.mark.parametrize(
    ("built_for", "driver", "state"),
    [(None, False, "ok"), (None, True, "note"), ("12.4", False, "ok"), ("12.4", True, "note")],
)
def test_without_cuda(built_for, driver, state):
    finding = checkup._without_cuda(built_for, driver=driver)
    assert finding.state == state
    assert bool(finding.mend) == driver


def test_the_cache_is_measured(tmp_path):
    folder = tmp_path / "cache" / "pb" / "datasets"
    folder.mkdir(parents=True)
    (folder / "one.h5ad").write_bytes(b"0" * 3 * 2**20)
    (found,) = checkup.caches()
    assert found.value == f"{folder}, 3.0 MiB"
    assert found.state == "ok"


def test_a_cache_that_cannot_be_written_is_broken(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    (found,) = checkup.caches()
    assert found.state == "broken"
    assert "XDG_CACHE_HOME" in found.mend


def test_without_slurm_nothing_is_broken():
    (found,) = checkup.slurm()
    assert found.state == "ok"


def test_slurm_says_its_version_and_limits(tmp_path, monkeypatch):
    command(tmp_path, "sbatch", "echo slurm 23.02.4")
    command(tmp_path, "squeue")
    command(tmp_path, "scontrol", "echo 'MaxArraySize            = 501'")
    found = {finding.name: (finding.value, finding.state) for finding in checkup.slurm()}
    assert found["commands"] == ("sbatch, squeue, scontrol", "ok")  # accounting is not needed
    assert found["version"] == ("slurm 23.02.4", "ok")
    assert found["elements of one job"] == ("501", "ok")


def test_half_a_slurm_is_noted(tmp_path):
    command(tmp_path, "sbatch", "echo slurm 23.02.4")
    (found,) = checkup.slurm()
    assert (found.state, found.mend) == ("note", "squeue, scontrol must be on the path too: is this a login node?")


def test_a_slurm_without_configuration_is_no_fault(tmp_path, pb):
    """Debian's packages on a laptop: every command fails, for there is no cluster."""
    for name in ("sbatch", "squeue", "scontrol", "sacct"):
        words = ("error: fetch_config: DNS SRV lookup failed", "fatal: Could not establish a configuration source")
        command(tmp_path, name, *(f"echo '{name}: {each}' >&2" for each in words), "exit 1")
    found = {finding.name: (finding.value, finding.state) for finding in checkup.slurm()}
    assert found["answer"] == ("set up for no cluster: --array needs a login node of one", "ok")
    result = pb("doctor")
    assert result.exit_code == 0, result.output
    assert "set up for no cluster" in result.stdout


def test_a_cluster_that_does_not_answer_is_broken(tmp_path):
    command(tmp_path, "sbatch", "echo slurm 23.02.4")
    command(tmp_path, "squeue")
    command(tmp_path, "scontrol", "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2", "exit 1")
    (found,) = (finding for finding in checkup.slurm() if finding.state == "broken")
    assert found.value.endswith("Unable to contact slurm controller")
    assert found.mend == "is the controller up? try: scontrol ping"


def test_a_slurm_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    """The script's child holds the pipes open after the script itself is killed."""
    monkeypatch.setattr(checkup, "SECONDS", 0.3)
    for name in ("sbatch", "squeue", "scontrol"):
        command(tmp_path, name, "/bin/sleep 60", "true")
    started = time.monotonic()
    (found,) = (finding for finding in checkup.slurm() if finding.state == "broken")
    assert time.monotonic() - started < 20
    assert found.value == "sbatch did not answer within 0.3 seconds."


def test_a_site_file_that_cannot_be_read_is_broken(tmp_path, monkeypatch):
    for name in ("sbatch", "squeue", "scontrol"):
        command(tmp_path, name, "echo MaxArraySize = 5")
    site = tmp_path / "site.toml"
    site.write_text("partition = 'cpu'")
    monkeypatch.setenv("PB_SITE", str(site))
    assert broken(checkup.slurm()) == {"slurm site file": f"mend {site}"}


@pytest.mark.parametrize(("free", "state"), [(2**40, "ok"), (2**30, "note"), (2**20, "broken")])
def test_disk(monkeypatch, free, state):
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda folder: _Usage(free))
    assert [finding.state for finding in checkup.disk()] == [state] * 2


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


PLUGINS = {
    "good": ("pb.models", "good", "plug:Good", ""),
    "absent": ("pb.models", "absent", "plug_absent:Model", "ModuleNotFoundError"),
    "raises": ("pb.losses", "raises", "plug_raises:Loss", "RuntimeError: no licence"),
    "foreign": ("pb.metrics", "foreign", "plug:Good", "expected an instance of pb_eval.metric.Metric"),
    "taken": ("pb.models", "scgen", "plug:Good", "takes the name of a built-in one"),
}


def test_plug_ins_are_named_and_broken_ones_with_their_error(tmp_path):
    """Real distributions in a folder of their own, looked at by a real process."""
    (tmp_path / "plug.py").write_text("from pb_models import Model\n\n\nclass Good(Model):\n    pass\n")
    (tmp_path / "plug_raises.py").write_text('raise RuntimeError("no licence")\n')
    for package, (group, name, value, _) in PLUGINS.items():
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "pb_cli", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = {f["name"]: f for f in json.loads(done.stdout)["findings"] if f["topic"] == "plug-ins"}
    assert len(told) == len(PLUGINS)
    for package, (group, name, _, fault) in PLUGINS.items():
        finding = told[f"{group} {name}"]
        assert f"of {package} 1.0" in finding["value"]
        assert fault in finding["value"]
        assert (finding["state"], finding["mend"]) == (
            ("broken", f"mend or uninstall {package}") if fault else ("ok", "")
        )
