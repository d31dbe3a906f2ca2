"""The parts of a report by themselves: escaping, figures, words, and the size of a large page."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from pb_cli.board import number
from pb_cli.plan import Task, to_lines
from pb_cli.report.blocks import Cell, Code, Column, Document, Facts, Figure, Fold, Prose, Row, Section, Table
from pb_cli.report.build import Wishes, build
from pb_cli.report.leaderboard import findings, score_table, standing_of
from pb_cli.report.markdown import to_markdown
from pb_cli.report.material import Material
from pb_cli.report.page import to_html
from pb_cli.report.plots import Strip, gap_figure, line_figure, strip_figure
from pb_cli.report.svg import inline_svg
from pb_cli.store import RunFolder
from pb_eval import METRICS, Reference
from pb_eval.registry import default_metrics
from pb_eval.table import RESULT_DTYPES

HOSTILE = "<script>alert('x & y')</script>|*b*"
BASELINES = ("control", "mean-shift", "similarity-shift", "linear", "pca-arithmetic", "ot-map")


def one_block(*blocks):
    return Document("title", [Section("part", list(blocks), "part")])


def scores(models, contexts=7, seeds=3, metrics=None, dose=np.nan):
    """Scores that fall from model to model, with noise of units and seeds."""
    rng = np.random.default_rng(0)
    names = metrics or default_metrics()
    rows = [
        (f"context {unit}", model, seed, name, 0.9 - 0.02 * place + rng.normal() / 200)
        for place, model in enumerate(models)
        for unit in range(contexts)
        for seed in range(1, 2 if model in BASELINES else seeds + 1)
        for name in names
    ]
    table = pd.DataFrame(rows, columns=["context", "model", "seed", "metric", "value"])
    fixed = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "stimulated", "dose": dose}
    fixed |= {"metric_version": 1, "n_predicted": 9, "n_true": 9, "profile": "default", "gene_set": "all"}
    fixed |= {"space": "log1p", "low": np.nan, "high": np.nan, "floor": 0.5, "ceiling": 0.95, "scaled": 0.1}
    return table.assign(**fixed, split_hash=table["context"])[list(RESULT_DTYPES)]


@pytest.fixture
def material(tmp_path):
    """Make what a report reads of a run, from results."""

    def make(results):
        keys = results[["model", "seed", "context"]].drop_duplicates()
        source = {"dataset": "pbmc", "sha256": "0" * 64}
        tasks = [
            Task(
                source=source, split="leave-context-out", split_parameters={"held_out": row.context}, preprocess={},
                split_hash=row.context, model=row.model, profile="default", settings={}, seed=row.seed,
            )
            for row in keys.itertuples()
        ]  # fmt: skip
        (tmp_path / "plan.jsonl").write_text(to_lines(tasks))
        for task in tasks:
            (tmp_path / "tasks" / task.id).mkdir(parents=True)
        costs = keys.rename(columns={"context": "held_out"}).assign(
            task=[task.id for task in tasks], status="done", dose=None, profile="default", fit_seconds=2.0,
            predict_seconds=1.0, peak_memory_bytes=2**30, n_parameters=7, device="cpu",
        )  # fmt: skip
        record = {
            "experiment": {"dataset": "pbmc"},
            "versions": {"pb-cli": "0"},
            "claim": "a claim",
            "plan_sha256": "1",
        }
        return Material(RunFolder(tmp_path), "synthetic", tasks, record, results, costs, {})

    return make


def test_all_text_is_escaped():
    table = Table(HOSTILE, [Column(HOSTILE)], [Row([Cell(HOSTILE, note=HOSTILE)])])
    figure = Figure("<svg></svg>", HOSTILE, HOSTILE)
    parts = (Prose(HOSTILE), table, figure, Facts([(HOSTILE, HOSTILE)]), Code(HOSTILE), Fold(HOSTILE, [Prose(HOSTILE)]))
    html = to_html(Document(HOSTILE, [Section(HOSTILE, list(parts), "part")]))
    assert html.count("<script>") == 1  # its own
    assert "alert('x" not in html
    assert "<script>" not in re.sub(r"```.*?```", "", to_markdown(one_block(*parts[:3])), flags=re.DOTALL).replace(
        "\\<", ""
    )


def test_markdown_tables_keep_their_columns():
    text = to_markdown(one_block(Table("caption", [Column("a|b"), Column("c")], [Row([Cell("1|2"), Cell("3")])])))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]


def test_figures_take_their_colours_from_the_page():
    figure = Canvas(figsize=(2, 2))
    axes = figure.add_subplot()
    axes.scatter([0, 1], [0, 1], color="#0072b2")
    axes.set_title("value 0.123456")
    svg = inline_svg(figure, "salt")
    assert "var(--series-0)" in svg
    assert "currentColor" in svg
    assert "value 0.123456" in svg  # text is not rounded as places are
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert "font-family" not in svg
    assert svg == inline_svg(figure, "salt")
    assert set(re.findall(r' id="([^"]+)"', svg)).isdisjoint(re.findall(r' id="([^"]+)"', inline_svg(figure, "other")))


def test_figures_say_in_words_what_they_show():
    strips = [
        Strip("a", np.array([0.1, 0.3]), np.array([0.2]), False),
        Strip("b", np.array([0.0]), np.array([0.0]), True),
    ]
    strip = strip_figure(strips, "mae", {"ceiling": 0.5, "nothing": np.nan}, ("folds", "mean"), "s")
    assert (
        strip.alt
        == "Strip plot of mae, best model first; from lowest to highest over folds: a 0.100 to 0.300; b 0.000 to 0.000."
    )
    assert "ceiling, 0.500" in strip.svg
    assert "nothing" not in strip.svg
    doses = pd.DataFrame([[0.5, 0.25], [0.1, 0.2]], index=["a", "b"], columns=[1.0, 10.0])
    line = line_figure(doses, "mae", "dose", ["a"], "s")
    assert line.alt == "mae at dose 1, 10: a 0.500, 0.250. Other models are grey."
    gap = gap_figure(pd.DataFrame({"model": ["far"], "seen_genes": [0.25], "unseen_genes": [0.75]}), "mae", "s")
    assert gap.alt == "mae on cells of seen genes, and on unseen genes: far 0.250 and 0.750."


def test_the_gain_has_its_interval_from_six_units_on(material):
    standing = standing_of(material(scores(["scgen", *BASELINES], metrics=["r2_mean_all", "mse_mean"])))
    said = " ".join(block.text for block in findings(standing))
    gain = standing.rows("r2_mean_all").set_index("model").loc["scgen"]
    assert gain["gain_low"] > 0
    assert "By r2_mean_all, the model is better than the best baseline, control" in said
    assert "The interval of the gain lies above 0 for scgen" in said
    assert "Beaten by a baseline" not in said
    table = score_table(standing, pd.DataFrame({"status": [], "model": [], "profile": []}))
    cell = dict(zip([column.name for column in table.columns], table.rows[0].cells, strict=True))["gain by r2_mean_all"]
    assert cell.note == f"+{number(gain['gain_low'])} to +{number(gain['gain_high'])}"
    assert table.rows[-1].kind == "ceiling"


def test_models_that_no_metric_favours_are_named(material):
    results = scores([*BASELINES, "scgen"], metrics=["r2_mean_all", "pearson_delta"])
    said = " ".join(block.text for block in findings(standing_of(material(results))))
    assert "By r2_mean_all, no model beats the best baseline, control" in said
    assert "Beaten by a baseline on each of the 2 metrics shown: scgen." in said


def test_ties_share_a_rank(material):
    results = scores(["scgen", *BASELINES], contexts=4, metrics=["r2_mean_all"])
    table = score_table(standing_of(material(results)), pd.DataFrame({"status": [], "model": [], "profile": []}))
    assert {(row.cells[0].text, row.cells[0].note) for row in table.rows[:-1]} == {("1", "a")}


def test_doses_are_drawn_where_there_are_doses(material):
    parts = [scores(["scgen", "control"], contexts=2, metrics=["r2_mean_all"], dose=dose) for dose in (1.0, 10.0)]
    html = to_html(build([material(pd.concat(parts))], Wishes(units=0), lambda _: None))
    assert "r2_mean_all at dose 1, 10: scgen" in html


def test_a_page_of_twenty_models_stays_below_five_megabytes(material):
    """20 models x 7 contexts x 3 seeds x all metrics, and the 14 predictions that a page shows of them."""
    from pb_cli.plan import Task
    from pb_cli.report.units import Sheet, sheet_blocks

    models = [*BASELINES, *(f"network-{i}" for i in range(14))]
    results = scores(models)
    assert results["metric"].nunique() >= 39
    page = to_html(build([material(results)], Wishes(units=0), lambda _: None))
    assert page.count("Strip plot of") == results["metric"].nunique()
    rng = np.random.default_rng(0)
    control, truth, prediction = (rng.poisson(1.0 + i / 5, size=(1500, 1000)).astype(float) for i in range(3))
    reference = Reference(np.log1p(truth), np.log1p(control), [f"gene{i}" for i in range(1000)])
    task = Task(
        source={}, split="s", split_parameters={"held_out": "c"}, split_hash="h", preprocess={}, model="scgen",
        profile="fixed", settings={}, seed=1,
    )  # fmt: skip
    blocks = sheet_blocks(Sheet(task, "c", "p", None), reference.cells(np.log1p(prediction)), reference, figures=True)
    sheet = len(to_html(one_block(*blocks))) - len(to_html(one_block()))
    assert sheet > 50_000
    assert len(page.encode()) + 14 * sheet < 5_000_000


def test_the_registry_is_complete_in_a_report(material):
    html = to_html(
        build([material(scores(["scgen", "control"], contexts=2))], Wishes(units=0, figures=False), lambda _: None)
    )
    assert METRICS["r2_mean_all"].caveat in html
