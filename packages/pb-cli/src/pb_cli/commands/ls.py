"""`pb ls`: what there is."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pb_cli.console import print_json, print_table
from pb_cli.planning import split_summary

if TYPE_CHECKING:
    from pb_data import DatasetCard, LabelledCard
    from pb_losses import Parameter

__all__ = ["ls"]


class Listing(NamedTuple):
    """A table of what a registry holds; a cell is text, or the settings of a loss."""

    columns: tuple[str, ...]
    rows: Sequence[tuple["str | tuple[Parameter, ...]", ...]]


def _text(cell: "str | tuple[Parameter, ...]") -> str:
    return cell if isinstance(cell, str) else "\n".join(map(_setting, cell))


def _data(cell: "str | tuple[Parameter, ...]") -> str | list[dict[str, Any]]:
    return cell if isinstance(cell, str) else [asdict(setting) for setting in cell]


def _setting(setting: "Parameter") -> str:
    """Write name, default and the values its papers searched: temperature 2 (1, 2, 4)."""
    grid = f" ({', '.join(map(_short, setting.grid))})" if setting.grid else ""
    return f"{setting.name} {_short(setting.default)}{grid}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _datasets() -> Listing:
    from pb_data.datasets import card, dataset_names

    cards = [card(name) for name in dataset_names()]
    return Listing(
        ("name", "what", "where from"),
        [(c.name, c.title, where_from(c)) for c in cards],
    )


def where_from(card: "DatasetCard") -> str:
    """Say how one comes by a data set."""
    if card.embedded:
        return "embedded"
    return "downloaded once" if card.url else f"your copy of {card.file_name}: --data FILE"


def _models() -> Listing:
    from pb_models.registry import model_entries

    entries = sorted(model_entries().items(), key=lambda item: not item[1].is_baseline)
    return Listing(
        ("name", "kind", "profiles", "what it does"),
        [(n, "baseline" if e.is_baseline else "model", ", ".join(e.profiles), e.summary) for n, e in entries],
    )


def _metrics() -> Listing:
    from pb_eval.registry import get_metric, metric_names

    metrics = [get_metric(name) for name in metric_names()]
    return Listing(
        ("name", "better", "perfect", "definition", "faults"),
        [(m.name, m.direction, f"{m.perfect:g}", m.definition, m.caveat) for m in metrics],
    )


def _supervised() -> Listing:
    from pb_eval.supervised import SUPERVISED

    return Listing(
        ("name", "task", "better", "perfect", "definition"),
        [(m.name, m.task, m.direction, f"{m.perfect:g}", m.definition) for m in SUPERVISED.values()],
    )


def _losses() -> Listing:
    from pb_losses.registry import loss_info, loss_names

    infos = [loss_info(name) for name in loss_names()]
    return Listing(
        ("name", "kind", "what it is", "settings"),
        [(i.name, i.kind, i.summary, i.parameters) for i in infos],
    )


def _splits() -> Listing:
    from pb_data.splits import split_names

    return Listing(("name", "what it supports"), [(name, split_summary(name)) for name in split_names()])


def _labelled() -> Listing:
    from pb_data import labelled_card, labelled_names

    cards = [labelled_card(name) for name in labelled_names()]
    return Listing(
        ("name", "tasks", "what", "where from"),
        [(c.name, ", ".join(c.tasks), c.title, labelled_from(c)) for c in cards],
    )


def labelled_from(card: "LabelledCard") -> str:
    """Say how one comes by a labelled data set."""
    return "embedded" if card.embedded else f"your copies of {' and '.join(card.file_names)}: --data FOLDER"


def _folds() -> Listing:
    from pb_data import fold_names, get_fold_rule

    return Listing(("name", "what it supports"), [(name, get_fold_rule(name).summary) for name in fold_names()])


LISTINGS: dict[str, Callable[[], Listing]] = {
    "datasets": _datasets,
    "models": _models,
    "metrics": _metrics,
    "supervised": _supervised,
    "losses": _losses,
    "splits": _splits,
    "labelled": _labelled,
    "folds": _folds,
}


@click.command(short_help="List data sets, models, metrics, losses, splits, labelled sets or folds.")
@click.argument("what", required=False, type=click.Choice(list(LISTINGS)))
@click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
def ls(what: str | None, *, as_json: bool) -> None:
    """List what there is: all registries, or one of them.

    The settings of a loss come with their default and, in brackets, the values that its papers searched.

    \b
    Examples:
      pb ls
      pb ls models
      pb ls metrics --json
    """
    listings = {name: make() for name, make in LISTINGS.items() if what in (None, name)}
    if as_json:
        print_json(
            {
                name: [dict(zip(t.columns, map(_data, row), strict=True)) for row in t.rows]
                for name, t in listings.items()
            }
        )
        return
    for name, listing in listings.items():
        print_table(name, listing.columns, [tuple(map(_text, row)) for row in listing.rows])
