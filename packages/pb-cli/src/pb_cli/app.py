"""The root of the command: verbs, version, and how errors leave the program."""

from importlib.metadata import version

import click

from pb_cli.commands.bench import bench
from pb_cli.commands.changes import compare_runs
from pb_cli.commands.collect import collect
from pb_cli.commands.completion import completion
from pb_cli.commands.data import data
from pb_cli.commands.doctor import doctor
from pb_cli.commands.eval import evaluate
from pb_cli.commands.init import init
from pb_cli.commands.ls import ls
from pb_cli.commands.report import report
from pb_cli.commands.resume import resume
from pb_cli.commands.run import run
from pb_cli.commands.status import status
from pb_cli.console import messages
from pb_cli.manners import QUIET, VERBOSE, mannered, shown_anywhere
from pb_cli.names import SuggestingGroup

__all__ = ["app", "main"]


@click.group(
    cls=SuggestingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version("pb-cli"), prog_name="pb", message="%(prog)s %(version)s")
@click.option("--quiet", "-q", is_flag=True, help=QUIET)
@click.option("--verbose", "-v", is_flag=True, help=VERBOSE)
@click.pass_context
def app(context: click.Context, *, quiet: bool, verbose: bool) -> None:
    """Benchmark the prediction of single-cell perturbation responses.

    Hold one context's perturbed cells out, predict them from that context's own
    control cells, and compare with baselines.

    \b
    Examples:
      pb doctor
      pb bench --preset quick --model scgen
      pb init my.h5ad
    """
    messages.level = int(verbose) - int(quiet)
    context.call_on_close(messages.reset)


for command in (
    bench,
    run,
    status,
    resume,
    collect,
    report,
    compare_runs,
    data,
    evaluate,
    ls,
    doctor,
    init,
    completion,
):
    app.add_command(command)
mannered(app)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."""
    shown_anywhere()
    app(prog_name="pb")
