"""`pb report` on a small real run: what the page holds, and what it says of a run that is not complete."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from pb_cli import app
from pb_cli.board import board_of, number
from pb_cli.report.material import read_material
from pb_eval import METRICS

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
MODELS = ("--model", "control,mean-shift,scgen", "--no-baselines", "--set", "scgen.max_epochs=2", "--set")
GRID = (*MODELS, "scgen.n_hidden=16", "--n-genes", "40", "--seed", "1,2", "--bootstrap", "0", "--no-save-models")
VOID = {"meta", "link", "input", "wbr", "image", "br"}


class Page(HTMLParser):
    """What a test asks of a page: its elements with their attributes, its text, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.words, self.open, self.wrong = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def values(self, attribute, tag=None):
        return [found[attribute] for name, found in self.elements if attribute in found and tag in (None, name)]


@pytest.fixture(scope="module")
def finished(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "small run"
    units = ("--hold-out", "beta", "--hold-out", "délta 'x' [b]")
    arguments = ["bench", "--data", data_file, *FLAGS, *GRID, *units, "--out", folder]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    result = CliRunner().invoke(app, ["report", str(finished)])
    assert result.exit_code == 0, result.output
    return (finished / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_well_formed_and_stands_alone(page: Page, html: str):
    assert page.wrong == []
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [link for name in ("href", "src", "xlink:href") for link in page.values(name)]
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    assert "url(http" not in html
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\"' ]+", html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_every_section_is_there(page: Page):
    headings = re.compile(r"In words|Leaderboard|Metric by metric|Held-out units|Metrics and their marks|Provenance")
    assert set(headings.findall(page.text)) == set(headings.pattern.split("|"))
    assert "What the split supports" in page.text


def test_the_leaderboard_shows_every_model_and_the_ceiling(page: Page, finished: Path):
    board = board_of(read_material(finished).results)
    for row in board.table[board.table["metric"] == "r2_mean_all"].itertuples():
        assert number(row.mean) in page.text
    assert number(board.ceilings["r2_mean_all"]) in page.text
    assert "a repeat of the measurement" in page.text
    for head in ("fit, s", "memory, MiB", "parameters", "gain by"):
        assert head in page.text


def test_it_says_in_words_that_no_model_beats_a_baseline(page: Page, finished: Path):
    board = board_of(read_material(finished).results)
    scgen = board.table[(board.table["model"] == "scgen") & (board.table["metric"] == "r2_mean_all")].iloc[0]
    assert scgen["gain"] < 0
    bar = board.wide("mean").loc[board.best_baseline["r2_mean_all"], "r2_mean_all"]
    name = board.best_baseline["r2_mean_all"][0]
    assert f"no model beats the best baseline, {name} ({number(bar)})" in page.text
    assert "Gains have no interval: it needs six split units, and here are 2." in page.text


def test_every_metric_has_its_definition_its_marks_and_figures(page: Page, finished: Path):
    scored = read_material(finished).results["metric"].unique()
    assert len(scored) > 20
    for name in scored:
        assert METRICS[name].definition.rstrip(".")[1:] in page.text
        assert METRICS[name].caveat in page.text
        assert any(alt.startswith(f"Strip plot of {name} ") for alt in page.values("aria-label"))
        assert any(f"models by {name} over 2 split units" in alt for alt in page.values("aria-label"))


def test_heat_maps_shade_from_the_worst_to_the_best(page: Page):
    shades = [float(style.removeprefix("--heat:")) for style in page.values("style") if style.startswith("--heat")]
    assert min(shades) == 0
    assert max(shades) == 1


def test_units_show_means_shifts_components_and_genes(page: Page):
    said = page.values("aria-label")
    for start in ("Predicted against true mean", "Predicted against true shift", "Cells in two principal components"):
        assert len([alt for alt in said if alt.startswith(start)]) == 4
    assert "4 of 6 predictions" in page.text
    assert page.text.count("The 20 genes with the highest Wilcoxon score of truth") == 4
    assert "false genes (significant in the prediction only)" in page.text


def test_provenance_repeats_the_run(page: Page, finished: Path):
    material = read_material(finished)
    assert material.record["plan_sha256"] in page.text
    assert {task.split_hash for task in material.tasks} <= set(re.findall(r"[0-9a-f]{64}", page.text))
    assert material.record["claim"] in page.text
    assert "noise of labels" not in page.text
    assert "pb bench 'small run.toml' --out 'runs/small run'" in page.text
    for name, version in material.record["versions"].items():
        assert f"{name} {version}" in page.text


def test_the_experiment_in_the_page_plans_the_same_tasks(pb, finished: Path):
    from pb_cli.report.provenance import experiment_toml

    material = read_material(finished)
    (pb.folder / "again.toml").write_text(experiment_toml(material.record["experiment"]), encoding="utf-8")
    planned = pb("bench", "again.toml", "--dry-run", "--json")
    assert planned.exit_code == 0, planned.output
    assert planned.stdout == (finished / "plan.jsonl").read_text(encoding="utf-8")


def test_markdown_says_the_same_without_figures(pb, finished: Path):
    result = pb("report", finished, "--format", "md", "--out", "-", "--metric", "mse_mean,r2_mean_all")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Benchmark report: small run\n\n## small run\n")
    assert "By mse_mean, " in result.stdout
    assert "| rank | model | mse_mean ↓ | r2_mean_all ↑ |" in result.stdout
    assert "<svg" not in result.stdout
    rows = [block for block in result.stdout.split("\n\n") if block.startswith("|")]
    assert len(rows) > 3
    assert all(len({line.count("|") for line in block.splitlines()}) == 1 for block in rows)


def test_an_incomplete_run_says_what_is_missing(pb, finished: Path):
    run = pb.folder / "part"
    shutil.copytree(finished, run)
    material = read_material(run)
    gone, broken, bare = material.done[:3]
    shutil.rmtree(material.folder.task(gone))
    metrics = material.folder.task(broken) / "metrics.csv"
    metrics.write_text(metrics.read_text()[:-20])
    (material.folder.task(bare) / "task.json").write_text("{")
    result = pb("report", run, "--format", "md", "--units", "all")
    assert result.exit_code == 0, result.output
    text = (run / "report.md").read_text(encoding="utf-8")
    assert "This run is not complete. 5 of 8 tasks done" in text
    assert "Some models ran with other settings than their own. scgen: max epochs 2, n hidden 16." in text
    assert "metrics.csv is missing or half-written" in text
    assert "task.json is missing or half-written" in text


def test_predictions_that_were_not_kept_are_said_to_be_so(pb, finished: Path):
    run = pb.folder / "part"
    shutil.copytree(finished, run)
    for prediction in run.glob("tasks/*/prediction.h5ad"):
        prediction.unlink()
    result = pb("report", run, "--format", "md", "--units", "2")
    assert result.exit_code == 0, result.output
    text = (run / "report.md").read_text(encoding="utf-8")
    assert text.count("The prediction was not kept in the run folder") == 2
    assert "8 of 8 tasks done" in text


def test_a_run_without_results_is_reported_too(pb, finished: Path):
    run = pb.folder / "planned"
    shutil.copytree(finished, run, ignore=lambda folder, names: names if Path(folder).name == "tasks" else [])
    result = pb("report", run)
    assert result.exit_code == 0, result.output
    assert "No task is done yet" in Page((run / "report.html").read_text(encoding="utf-8")).text


def test_several_runs_are_chapters_of_one_page(pb, finished: Path):
    shutil.copytree(finished, pb.folder / "other")
    result = pb("report", finished, "other", "--format", "md")
    assert result.exit_code == 0, result.output
    text = (pb.folder / "report.md").read_text(encoding="utf-8")
    assert "## Runs" in text
    assert text.index("## small run") < text.index("## other")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 2, "nowhere holds no run: there is no plan.jsonl."),
        ((), 2, "Give run folders of pb bench, or --demo"),
        (("run", "--demo"), 2, "--demo takes no run."),
        (("run", "--units", "some"), 2, "--units 'some' is not a number"),
        (("run", "--metric", "pearson"), 2, "did you mean pearson_delta?"),
        (("run", "--out", "no/where.html", "--format", "md"), 1, "No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_sentence(pb, finished: Path, arguments, code, words):
    shutil.copytree(finished, pb.folder / "run")
    result = pb("report", *arguments)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_run_folder_is_not_changed_but_for_the_report(pb, finished: Path):
    run = pb.folder / "run"
    shutil.copytree(finished, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert pb("report", run, "--format", "md").exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {run / "report.md"}
    assert before.items() <= after.items()


def test_costs_are_those_of_the_tasks(finished: Path):
    material = read_material(finished)
    kept = (finished / "tasks.csv").read_text()
    assert material.costs.to_csv(index=False) == kept


def test_the_demo_makes_its_own_run(pb):
    result = pb("report", "--demo", "--format", "md")
    assert result.exit_code == 0, result.output
    text = (pb.folder / "pb-demo.md").read_text(encoding="utf-8")
    assert "10 of 10 tasks done; seeds 1, 2;" in text
    assert "scgen (fixed)" in text
    assert [path.name for path in pb.folder.iterdir()] == ["pb-demo.md"]
