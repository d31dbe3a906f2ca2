"""Names that no shell would survive: in contexts, folders and data paths; and folders that move."""

import json
import shutil
from pathlib import Path

import anndata as ad
import pytest
from pb_cli.arrays import read_arrays
from pb_cli.plan import read_plan
from pb_cli.store import RunFolder
from pb_eval import read_table

CONTEXTS = ("a'b\"c", "$HOME; exit 3 `x` && {y}", "new\nline", "--help [/red]")
WHOLE = "--help 'two' \"words\" $HOME; exit 3 `x`\ndélta 日本 [b]"
FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
GRID = ("--model", "control", "--no-baselines", "--n-genes", "40", "--bootstrap", "0", "--quiet")


@pytest.fixture(scope="module")
def cells(data_file: Path) -> ad.AnnData:
    """Four contexts of strange names."""
    data = ad.read_h5ad(data_file)
    data.obs["kind"] = data.obs["kind"].cat.rename_categories(list(CONTEXTS))
    return data


def test_folders_and_data_files_may_have_any_name(pb, cells: ad.AnnData):
    """Planned, run in part, moved, run to the end, merged; all paths begin with dashes."""
    data, run = f"{WHOLE}.h5ad", f"{WHOLE} run"
    cells.write_h5ad(pb.folder / data)
    planned = pb("bench", f"--data={data}", *FLAGS, *GRID, f"--out={run}", "--plan-only")
    assert planned.exit_code == 0, planned.output
    assert {task.held_out for task in read_plan(pb.folder / run / "plan.jsonl")} == set(CONTEXTS)
    assert pb("run", "--task", "0", "--", run).exit_code == 0
    shutil.move(pb.folder / run, pb.folder / f"{run} moved")
    shutil.move(pb.folder / data, pb.folder / f"--moved {data}")
    done = pb("run", f"--data=--moved {data}", "--", f"{run} moved")
    assert done.exit_code == 0, done.output
    assert pb("collect", "--", f"{run} moved").exit_code == 0
    assert json.loads(pb("status", "--json", "--", f"{run} moved").stdout)["counts"]["done"] == 4
    assert set(read_table(pb.folder / f"{run} moved/results.csv")["context"]) == set(CONTEXTS)


def test_a_script_holds_no_name(pb, cells: ad.AnnData, monkeypatch: pytest.MonkeyPatch):
    submitted = []
    monkeypatch.setattr("pb_cli.arrays.submit", lambda script, *rest: submitted.append(rest) or "7")
    monkeypatch.setattr("pb_cli.submission.max_array_size", lambda: 1000)
    monkeypatch.setattr("pb_cli.states.queued", lambda names: {})
    monkeypatch.setattr("pb_cli.states.accounted", lambda jobs: {})
    monkeypatch.setenv("XDG_CONFIG_HOME", "absent")
    monkeypatch.delenv("PB_SITE", raising=False)
    cells.write_h5ad(pb.folder / f"{WHOLE}.h5ad")
    result = pb("bench", f"--data={WHOLE}.h5ad", *FLAGS, *GRID, f"--out={WHOLE}", "--array")
    assert result.exit_code == 0, result.output
    folder = RunFolder(pb.folder / WHOLE)
    [array] = read_arrays(folder)
    [script] = (folder.path / "arrays" / array.name).glob("*.sbatch")
    text = script.read_text(encoding="utf-8")
    assert not any(part in text for part in (WHOLE, *CONTEXTS, "$HOME", "日本"))
    assert [rest[0] for rest in submitted] == [Path(WHOLE)]
