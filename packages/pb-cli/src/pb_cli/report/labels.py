"""The chapter of a supervised run: losses and baselines over folds, seen against unseen genes, what was chosen."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_cli.board import number
from pb_cli.costs import KIND
from pb_cli.names import suggest
from pb_cli.report.blocks import Block, Cell, Column, Figure, Fold, Prose, Row, Table
from pb_cli.report.leaderboard import ARROWS, signed, spent
from pb_cli.report.material import Material, records
from pb_cli.report.plots import Strip, gap_figure, strip_figure
from pb_cli.supervised.board import words
from pb_cli.supervised.comparison import Board, compare, gaps
from pb_cli.supervised.scores import label_baselines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["board_blocks", "boards_of", "choice_table", "gap_blocks", "label_findings", "label_metric_table"]


def boards_of(material: Material, metrics: Sequence[str] = ()) -> list[Board]:
    """Make a board of each kind of folds and label noise; the metrics named come first, and the first ranks.

    Raises
    ------
    ValueError
        If a metric is not among the results.
    """
    known = set(material.results["metric"])
    for name in metrics:
        if name not in known:
            msg = f"The results hold no metric {name!r}. {suggest(name, known)}"
            raise ValueError(msg)
    return [_first(board, metrics) for board in compare(material.results, label_baselines())]


def _first(board: Board, metrics: Sequence[str]) -> Board:
    """Put the rows of some metrics first."""
    place = {name: number for number, name in enumerate(metrics)}
    order = board.table["metric"].map(lambda name: place.get(name, len(place))).argsort(kind="stable")
    return board._replace(table=board.table.iloc[order])


def label_findings(boards: list[Board]) -> list[Block]:
    """Say in words which loss is best and which do not beat a baseline."""
    blocks: list[Block] = []
    for board in boards:
        for line in words(board):
            tone = "warning" if line.startswith(("No ", "Without ")) else "lead"
            blocks.append(Prose(f"{board.dataset}, folds {board.split}: {line}", tone))
    return blocks


def board_blocks(board: Board, material: Material, *, figures: bool) -> list[Block]:
    """Show one board: scores with their spread over folds, of each target too, tests, strips over folds."""
    metrics = list(dict.fromkeys(board.table["metric"]))
    blocks: list[Block] = [_table(board, metrics, material), *_by_target(board, metrics, material.results)]
    if not figures:
        return blocks
    folds = [_strips(board, metric, material.results) for metric in metrics]
    return [*blocks, folds[0], *(Fold(metric, [figure]) for metric, figure in zip(metrics[1:], folds[1:], strict=True))]


def _table(board: Board, metrics: list[str], material: Material) -> Table:
    first = metrics[0]
    ids = [task.id for task in material.done if getattr(task, "label_of_split", "") == board.split]
    heads, costs = spent(material.costs[material.costs["task"].isin(ids)])
    rows = []
    for model, cells in _by_model(board).items():
        head = cells[first]
        mark = " ‡" if head["beats_baselines"] is False else ""
        tested = [_p(head[name]) for name in ("p", "p_corrected")]
        name = Cell(f"{model}{mark}", note="baseline" if head["is_baseline"] else "")
        scores = [_score(cells.get(metric)) for metric in metrics]
        kind: Any = "baseline" if head["is_baseline"] else ""
        rows.append(Row([name, *scores, *tested, *costs.get((model, "default"), [Cell("")] * len(heads))], kind))
    columns = [Column("loss", is_number=False), *(Column(f"{name} {_arrow(name)}") for name in metrics)]
    columns += [Column("p"), Column("p (Holm)"), *map(Column, heads)]
    caption = (
        f"{board.dataset}, folds {board.split}: mean ± standard deviation over folds, of test rows. Bold: best; ‡: no "
        f"better than the best baseline by {first}. p: paired t-test over folds against the best loss by {first}. "
        f"Costs: {KIND}."
    )
    return Table(caption, columns, rows, can_filter=True)


def _by_target(board: Board, metrics: list[str], results: "pd.DataFrame") -> list[Block]:
    """Lay out the scores of each target, in the order of the board; nothing where there is only one."""
    rows = _rows(board, results)
    targets = list(rows["perturbation"].unique())
    if len(targets) < 2:
        return []
    folds = {
        key: part.groupby("context")["value"].mean().to_numpy()
        for key, part in rows.groupby(["model", "perturbation", "metric"])
    }
    body = []
    for model, of_board in _by_model(board).items():
        kind: Any = "baseline" if of_board[metrics[0]]["is_baseline"] else ""
        for target in targets:
            values = [folds.get((model, target, metric)) for metric in metrics]  # classes decide which top-k there are
            cells = [None if each is None else {"mean": each.mean(), "sd": each.std(), "best": 0} for each in values]
            body.append(Row([Cell(model), Cell(str(target)), *map(_score, cells)], kind))
    heads = [Column("loss", is_number=False), Column("target", is_number=False)]
    columns = [*heads, *(Column(f"{name} {_arrow(name)}") for name in metrics)]
    table = Table(f"{board.dataset}, folds {board.split}: mean ± standard deviation over folds", columns, body, True)
    return [Fold("Each target by itself", [table])]


def _rows(board: Board, results: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of results that a board sums up."""
    return results[(results["dataset"] == board.dataset) & (results["split"] == board.split)]


def _by_model(board: Board) -> dict[str, dict[str, dict[Any, Any]]]:
    """Rows of a board by model, then by metric; best first by the first metric."""
    found: dict[str, dict[str, dict[Any, Any]]] = {}
    for row in board.table.to_dict(orient="records"):
        found.setdefault(row["model"], {})[row["metric"]] = row
    return found


def _score(cell: dict[Any, Any] | None) -> Cell:
    if cell is None or np.isnan(cell["mean"]):
        return Cell("undefined" if cell else "–", float("nan"))
    return Cell(number(cell["mean"]), cell["mean"], f"± {number(cell['sd'])}", "best" if cell["best"] else "")


def _p(value: float) -> Cell:
    if np.isnan(value):
        return Cell("", float("nan"))
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)


def _cost(seconds: float | None) -> Cell:
    return Cell("", float("nan")) if seconds is None else Cell(f"{seconds:,.0f}", seconds)


def _arrow(metric: str) -> str:
    from pb_eval.supervised import SUPERVISED

    return ARROWS[SUPERVISED[metric].direction]


def _strips(board: Board, metric: str, results: "pd.DataFrame") -> Figure:
    """Draw each loss's scores: a mark for each fold, a dot for its mean."""
    rows = _rows(board, results)
    rows = rows[rows["metric"] == metric]
    table = board.table[board.table["metric"] == metric]
    table = table[table["mean"].notna()]
    folds = rows.groupby(["model", "context"])["value"].mean()
    strips = [
        Strip(row.model, folds[row.model].to_numpy(), np.array([row.mean]), bool(row.is_baseline))
        for row in records(table)
    ]
    baselines = table[table["is_baseline"]]
    lines = {"best baseline": float(baselines["mean"].iloc[0])} if len(baselines) else {}
    salt = f"strip {board.dataset} {board.split} {metric}"
    return strip_figure(strips, f"{metric} {_arrow(metric)}", lines, ("folds", "mean over folds"), salt)


def gap_blocks(boards: list[Board], *, figures: bool) -> list[Block]:
    """Hold cells of seen genes against unseen genes, where the run has both kinds of folds."""
    import pandas as pd

    rows = pd.DataFrame(gaps(boards))
    if rows.empty:
        return []
    blocks: list[Block] = []
    for names, part in rows.groupby(["metric", "folds", "dataset"], sort=False):
        metric, folds, dataset = map(str, names)
        ordered = part.sort_values("unseen_genes", ascending=_arrow(metric) == "↓")
        content: list[Block] = [_gap_table(ordered, metric, folds)]
        if figures:
            content.append(gap_figure(ordered, f"{metric} {_arrow(metric)}", f"gap {dataset} {folds} {metric}"))
        blocks.append(Fold(f"{metric}: folds {folds} against genes", content, is_open=not blocks))
    return blocks


def _gap_table(rows: "pd.DataFrame", metric: str, folds: str) -> Table:
    columns = [Column("model", is_number=False), Column("seen genes"), Column("unseen genes"), Column("gap")]
    body = []
    for row in records(rows):
        gap = row.unseen_genes - row.seen_genes
        values = [Cell(number(value), value) for value in (row.seen_genes, row.unseen_genes)]
        body.append(Row([Cell(str(row.model)), *values, Cell(signed(gap), gap)]))
    return Table(
        f"{metric} in folds {folds}, whose genes also train, and in folds genes, whose do not; gap: unseen - seen",
        columns,
        body,
    )


def choice_table(material: Material) -> Table:
    """List the settings chosen in each fold for the first metric, diverged trainings and seconds."""
    import pandas as pd

    rows = []
    for task in material.done:
        costs, path = material.folder.task_record(task)["costs"], material.folder.task(task) / "chosen.csv"
        picks = pd.read_csv(path) if path.is_file() else pd.DataFrame()
        chosen, diverged = "", ""
        if len(picks):
            listed = [_settings(pick) for pick in records(picks[picks["metric"] == picks["metric"].iloc[0]])]
            chosen = "; ".join(f"{listed.count(one)}× {one}" for one in dict.fromkeys(listed))
            diverged = f"{costs['n_diverged']} of {picks.groupby('fold')['n_runs'].first().sum()}"
        cells = [task.model, getattr(task, "label_of_split", ""), str(task.seed), chosen, diverged]
        rows.append(Row([*map(Cell, cells), _cost(costs["fit_seconds"])]))
    heads = ("loss", "folds", "seed", "chosen in the folds", "diverged")
    columns = [*(Column(head, is_number=False) for head in heads), Column("seconds")]
    return Table("Settings chosen by the validation rows for the first metric", columns, rows, can_filter=True)


def _settings(pick: Any) -> str:
    """Write one fold's choice."""
    if pick.run < 0:
        return "none, as all trainings diverged"
    own = [f"{name.replace('_', ' ')} {value:g}" for name, value in json.loads(pick.parameters).items()]
    return ", ".join([*own, f"lr {pick.learning_rate:g}", f"decay {pick.weight_decay:g}"])


def label_metric_table(names: list[str]) -> Table:
    """List the scores of labels with their definition and range."""
    from pb_eval.supervised import SUPERVISED

    rows = []
    for name in names:
        metric = SUPERVISED[name]
        low, high = metric.range
        rows.append(Row([*map(Cell, (name, _arrow(name), f"{low:g} to {high:g}", metric.definition))]))
    heads = ("metric", "better", "range", "definition")
    return Table("What each score of labels is", [Column(head, is_number=False) for head in heads], rows)
