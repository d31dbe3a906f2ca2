"""`pb ls`: what there is."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import click

from pb_cli.console import print_json, print_table
from pb_cli.plan import split_summary

if TYPE_CHECKING:
    from pb_data import DatasetCard

__all__ = ["ls"]


class Listing(NamedTuple):
    """A table of what a registry holds."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


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
        ("name", "better", "perfect", "definition"),
        [(m.name, m.direction, f"{m.perfect:g}", m.definition) for m in metrics],
    )


def _losses() -> Listing:
    from pb_losses.registry import loss_info, loss_names

    infos = [loss_info(name) for name in loss_names()]
    return Listing(("name", "kind", "what it is"), [(i.name, i.kind, i.summary) for i in infos])


def _splits() -> Listing:
    from pb_data.splits import split_names

    return Listing(("name", "what it supports"), [(name, split_summary(name)) for name in split_names()])


LISTINGS: dict[str, Callable[[], Listing]] = {
    "datasets": _datasets,
    "models": _models,
    "metrics": _metrics,
    "losses": _losses,
    "splits": _splits,
}


@click.command(short_help="List data sets, models, metrics, losses or splits.")
@click.argument("what", required=False, type=click.Choice(list(LISTINGS)))
@click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
def ls(what: str | None, *, as_json: bool) -> None:
    """List what there is: all registries, or one of them.

    \b
    Examples:
      pb ls
      pb ls models
      pb ls metrics --json
    """
    listings = {name: make() for name, make in LISTINGS.items() if what in (None, name)}
    if as_json:
        print_json({name: [dict(zip(t.columns, row, strict=True)) for row in t.rows] for name, t in listings.items()})
        return
    for name, listing in listings.items():
        print_table(name, listing.columns, listing.rows)
