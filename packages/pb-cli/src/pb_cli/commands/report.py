"""`pb report`: a run as one page to read, to print or to send."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pb_cli.console import messages
from pb_cli.files import write_text
from pb_cli.names import split_names, usage_errors

if TYPE_CHECKING:
    from pb_cli.report.blocks import Document
    from pb_cli.report.build import Wishes

__all__ = ["report"]

LARGE = 5_000_000  # bytes of a page that is still easy to send
UNITS = "Predictions to show: a number, `all` or `none`.  [default: of each unit the best model and the best baseline]"


@click.command(short_help="Write a run as one self-contained page, or as Markdown.")
@click.argument("runs", metavar="RUN...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write, - for stdout.  [default: RUN/report.html]")
@click.option("--format", "form", type=click.Choice(["html", "md"]), default="html", show_default=True)
@click.option("--metric", "metrics", multiple=True, help="Metrics of the leaderboard; the first ranks.")
@click.option("--units", metavar="N|all|none", help=UNITS)
@click.option("--demo", is_flag=True, help="Report a small run on embedded data, made for the purpose.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    form: str,
    metrics: tuple[str, ...],
    units: str | None,
    demo: bool,
    quiet: bool,
) -> None:
    """Write one file that shows all of one run or of several.

    The page has leaderboard, held-out units, seeds, doses, tests, metrics and provenance in it, needs no network and
    opens by a double click. A run that is not complete is shown as far as it is done, and what is missing is said.

    \b
    Examples:
      pb report runs/pbmc-quick
      pb report runs/pbmc runs/dose --out both.html --units none
      pb report runs/pbmc --format md --metric r2_mean_all,pearson_delta
      pb report --demo
    """
    from pb_cli.report.build import Wishes

    if bool(runs) == demo:
        msg = (
            "Give run folders of pb bench, or --demo for one that is made now." if not demo else "--demo takes no run."
        )
        raise click.UsageError(msg)
    with usage_errors():
        wishes = Wishes(most_units(units, form), form == "html", split_names(metrics))
        if demo:
            from pb_cli.report.demo import demo_run

            with demo_run(quiet=quiet) as run:
                write((run,), out or Path(f"pb-demo.{form}"), form, wishes, quiet=quiet)
        else:
            write(runs, out or default_place(runs, form), form, wishes, quiet=quiet)


def most_units(text: str | None, form: str) -> int | None:
    """Read how many predictions to show; None is the default of a page, none that of Markdown."""
    if text is None:
        return None if form == "html" else 0
    if text in {"all", "none"}:
        return sys.maxsize if text == "all" else 0
    if not text.isdigit():
        msg = f"--units {text!r} is not a number: write one, or all, or none."
        raise ValueError(msg)
    return int(text)


def default_place(runs: tuple[Path, ...], form: str) -> Path:
    """Name the file inside the run's folder; a report of several belongs to none of them."""
    return runs[0] / f"report.{form}" if len(runs) == 1 else Path(f"report.{form}")


def write(runs: tuple[Path, ...], out: Path, form: str, wishes: "Wishes", *, quiet: bool) -> None:
    """Read runs, write their report, and say where it lies."""
    from pb_cli.report.build import build
    from pb_cli.report.material import read_material

    with messages.status("reading", spinner="line") as status:
        document = build([read_material(run) for run in runs], wishes, status.update if not quiet else _nothing)
        text = rendered(document, form)
    if str(out) == "-":
        click.echo(text, nl=False)
        return
    write_text(out, text)
    size = len(text.encode())
    messages.print(f"Report: {out} ({max(1, round(size / 1000)):,} kB)", soft_wrap=True)
    if size > LARGE:
        messages.print("That is large for a page; --units with a smaller number, or none, makes it smaller.")


def _nothing(_: str) -> None:
    """Say nothing."""


def rendered(document: "Document", form: str) -> str:
    """Write a document in a format."""
    if form == "md":
        from pb_cli.report.markdown import to_markdown

        return to_markdown(document)
    from pb_cli.report.page import to_html

    return to_html(document)
