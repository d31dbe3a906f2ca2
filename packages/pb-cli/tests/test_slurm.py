"""What is handed to Slurm, against golden files, and what is read from its answers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pb_cli import slurm
from pb_cli.arrays import draft_array, element_ids, read_arrays, submit_array
from pb_cli.plan import Task
from pb_cli.site import Site, multiply_memory, multiply_time, read_site
from pb_cli.slurm import Chunk, Element, SlurmError, render
from pb_cli.store import RunFolder

GOLDEN = Path(__file__).with_name("golden")
SITE = Site(pb="pb")


@pytest.fixture
def folder(tmp_path: Path, task: Callable[..., Task]) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        run.open([task(seed) for seed in range(5)], {"versions": {}})
    return run


CASES = {
    "plain": (SITE, Chunk(0, 12), None, []),
    "second-chunk-of-many": (SITE.with_options({"time": "02:00:00", "mem": "8G"}), Chunk(1001, 500), 20, []),
    "gpu": (SITE.with_options({"gres": "gpu:1", "partition": "gpu"}), Chunk(0, 3), None, ["--ensemble"]),
    "strange-values": (
        Site(
            {"account": "two words", "comment": "a 'quoted' $HOME; \"x\" # no", "exclusive": ""},
            environment="module load python/3.11\nsource ~/pb/.venv/bin/activate",
            pb="apptainer exec ~/pb.sif pb",
        ),
        Chunk(0, 1),
        None,
        ["--no-save-models"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rendered_scripts(case: str):
    site, chunk, most, flags = CASES[case]
    text = render(site, "pb-0a1b2c3d", chunk, most=most, flags=flags)
    assert text == (GOLDEN / f"{case}.sbatch").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", ["a\nrm -rf x", "a\0", "a\r"])
def test_a_value_that_would_leave_its_line_is_refused(value: str):
    with pytest.raises(ValueError, match="is no option of sbatch on one line"):
        Site({"account": value})


def test_options_that_are_pbs_own_are_refused():
    with pytest.raises(ValueError, match="--array is set by pb itself"):
        read_site(None, {}, ["--array=0-3"], usual=False)


def test_flags_override_the_sites_file(tmp_path: Path):
    path = tmp_path / "site.toml"
    path.write_text('environment = "module load x"\n[sbatch]\npartition = "cpu"\nmem = "4G"\n')
    site = read_site(path, {"mem": "8G", "time": None}, ["--nice=100", "exclusive"])
    assert site.sbatch == {"partition": "cpu", "mem": "8G", "nice": "100", "exclusive": ""}
    assert site.environment == "module load x"


@pytest.mark.parametrize(
    ("text", "words"), [("pattition = 1", "Did you mean"), ("pb = 1", "write a text"), ("x =", "TOML")]
)
def test_a_mistake_in_the_sites_file_is_named(tmp_path: Path, text: str, words: str):
    path = tmp_path / "site.toml"
    path.write_text(text.replace("pattition", "environmen"))
    with pytest.raises(ValueError, match=words):
        read_site(path, {}, [])


def test_memory_and_time_are_multiplied():
    assert multiply_memory("8G", 2) == "16384M"
    assert multiply_time("1-00:00:30", 2) == "2-00:01:00"
    assert multiply_time("90:30", 2) == "0-03:01:00"
    for multiply, wrong in ((multiply_memory, "lots"), (multiply_time, "1:2:3:4")):
        with pytest.raises(ValueError, match="write it like"):
            multiply(wrong, 2)


def test_a_grid_that_exceeds_a_job_is_cut_and_every_element_finds_its_tasks(folder, monkeypatch):
    jobs = iter(["11", "12", "13"])
    commands = []

    def answer(*command: str) -> str:
        commands.append(command)
        return next(jobs) + "\n"

    monkeypatch.setattr(slurm, "call", answer)
    tasks = folder.read()
    array = draft_array([[one] for one in tasks], SITE, largest=2, most=1, flags=[])
    submit_array(folder, array)
    [read] = read_arrays(folder)
    assert read.chunks == [Chunk(0, 2, "11"), Chunk(2, 2, "12"), Chunk(4, 1, "13")]
    assert [word for command in commands for word in command if "dependency" in word] == [
        "--dependency=afterany:11",
        "--dependency=afterany:12",
    ]
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert element_ids(folder, read.name, 2) == [tasks[3].id]
    assert folder.read(element_ids(folder, read.name, 2)) == [tasks[3]]
    places = dict(read.placed())
    assert places[tasks[3].id] == Element(f"{read.name}-2", 1)
    with pytest.raises(ValueError, match="element 5 was asked for"):
        element_ids(folder, read.name, 4)


def test_a_refused_job_leaves_the_record_of_those_before_it(folder, monkeypatch):
    def answer(*command: str) -> str:
        if "job-2" in command[-1]:
            msg = "sbatch says: QOSMaxSubmitJobPerUserLimit"
            raise SlurmError(msg)
        return "11\n"

    monkeypatch.setattr(slurm, "call", answer)
    array = draft_array([[one] for one in folder.read()], SITE, largest=2, most=None, flags=[])
    with pytest.raises(SlurmError, match=r"QOSMax.* 1 of 3 jobs were submitted; `pb resume"):
        submit_array(folder, array)
    [read] = read_arrays(folder)
    assert read.chunks == [Chunk(0, 2, "11")]


def test_answers_of_slurm_are_read(monkeypatch):
    answers = {
        "squeue": "pb-1-0|3|RUNNING\npb-1-0|4|PENDING\npb-1-0|N/A|PENDING\n",
        "sacct": "7_1|CANCELLED by 0\n7_2|OUT_OF_MEMORY\n7_[3-9]|PENDING\n8|FAILED\n",
        "scontrol": "x = 1\nMaxArraySize            = 1001\n",
    }
    monkeypatch.setattr(slurm, "call", lambda program, *_, **__: answers[program])
    assert slurm.queued(["pb-1-0"]) == {Element("pb-1-0", 3): "RUNNING", Element("pb-1-0", 4): "PENDING"}
    found = slurm.accounted({"7": "pb-2-0"})
    assert found == {Element("pb-2-0", 1): "CANCELLED", Element("pb-2-0", 2): "OUT_OF_MEMORY"}
    assert slurm.max_array_size() == 1001


def test_a_command_that_is_missing_or_fails_is_one_sentence():
    with pytest.raises(SlurmError, match="no login node"):
        slurm.call("squeue-that-is-not-there")
    with pytest.raises(SlurmError, match=r"ls says: .*absent"):
        slurm.call("ls", "absent")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", "time limit"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***", "cancelled"),
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***", "preempted"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.", "out of memory"),
        ("slurmstepd-n1: error: Exceeded job memory limit", "out of memory"),
        ("the model says: CANCELLED AT noon", None),
    ],
)
def test_what_slurm_wrote_into_the_output_tells_why(tmp_path: Path, line: str, reason: str | None):
    output = tmp_path / "0.txt"
    assert slurm.noted(output) is None
    output.write_text(f"epoch 1\n{line}\nepoch 2\n")
    assert slurm.noted(output) == reason
