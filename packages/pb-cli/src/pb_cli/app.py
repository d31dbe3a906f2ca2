"""The root of the command: verbs, version, and how errors leave the program."""

from importlib.metadata import version

import click

from pb_cli.commands.bench import bench
from pb_cli.commands.changes import compare_runs
from pb_cli.commands.collect import collect
from pb_cli.commands.data import data
from pb_cli.commands.eval import evaluate
from pb_cli.commands.ls import ls
from pb_cli.commands.report import report
from pb_cli.commands.resume import resume
from pb_cli.commands.run import run
from pb_cli.commands.status import status
from pb_cli.names import SuggestingGroup

__all__ = ["app", "main"]


@click.group(
    cls=SuggestingGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First time: pb bench --preset quick --model scgen",
)
@click.version_option(version("pb-cli"), prog_name="pb", message="%(prog)s %(version)s")
def app() -> None:
    """Benchmark the prediction of single-cell perturbation responses.

    Hold one context's perturbed cells out, predict them from that context's own
    control cells, and compare with baselines.
    """


for command in (bench, run, status, resume, collect, report, compare_runs, data, evaluate, ls):
    app.add_command(command)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."""
    app(prog_name="pb")
