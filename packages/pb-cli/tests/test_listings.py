"""What `pb ls` tells, against the registries it reads."""

import json

from pb_eval.supervised import SUPERVISED
from pb_losses import loss_info, loss_names
from rich.console import Console


def test_listings(pb):
    listed = json.loads(pb("ls", "--json").stdout)
    assert set(listed) == {
        "datasets", "models", "metrics", "supervised", "losses", "splits", "labelled", "folds",
    }  # fmt: skip
    assert all(listed.values())
    scores = {metric["name"]: metric for metric in listed["supervised"]}
    assert set(scores) == set(SUPERVISED)
    assert scores["auroc"]["task"] == "classification"
    assert scores["rmse"]["better"] == "lower"
    assert "similarity-shift" in pb("ls", "models").stdout


def test_losses_are_listed_with_their_settings(pb, monkeypatch):
    told = {loss["name"]: loss["settings"] for loss in json.loads(pb("ls", "losses", "--json").stdout)["losses"]}
    for name in loss_names():
        expected = [(p.name, p.meaning, p.default, list(p.grid)) for p in loss_info(name).parameters]
        assert [(s["name"], s["meaning"], s["default"], s["grid"]) for s in told[name]] == expected
    monkeypatch.setattr("pb_cli.console.output", Console(width=100, highlight=False, markup=False))
    table = pb("ls", "losses").stdout
    assert max(map(len, table.splitlines())) == 100
    cells = [line.rsplit("│", 2)[1].strip() for line in table.splitlines() if line.startswith("│")]
    for written in ("temperature 2 (1, 2, 4)", "form log (log, exp)", "log_zero -9.21", "reference_compatible False"):
        assert written in cells
