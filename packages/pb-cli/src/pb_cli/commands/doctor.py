"""`pb doctor`: what is installed here, what it can use, and what to mend."""

from collections import Counter

import click
from rich.text import Text

from pb_cli.checkup import Finding, examine
from pb_cli.console import messages, output, print_fact, print_json

__all__ = ["doctor"]

STYLES = {"ok": "", "note": "yellow", "broken": "red"}


@click.command(short_help="Look at what is installed here, and say what to mend.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as data.")
def doctor(*, as_json: bool) -> None:
    """Look at versions, devices, threads, caches, Slurm, plug-ins and free disk.

    Of what is not sound, say what to mend. Exit code 1 if something is broken; notes are no faults.
    Nothing is changed, and Slurm gets a few seconds to answer.

    \b
    Examples:
      pb doctor
      pb doctor --json > doctor.json
    """
    findings = list(examine())
    counts = Counter(finding.state for finding in findings)
    if as_json:
        print_json({"broken": counts["broken"], "findings": [finding._asdict() for finding in findings]})
    else:
        show(findings)
    if counts["broken"]:
        messages.print(f"{counts['broken']} broken: see what to mend.", style="red", soft_wrap=True)
        raise SystemExit(1)


def show(findings: list[Finding]) -> None:
    """Print findings by topic, a line each, with what to mend below."""
    for topic in dict.fromkeys(finding.topic for finding in findings):
        output.print(Text(topic, style="bold"))
        for finding in findings:
            if finding.topic == topic:
                state = "" if finding.state == "ok" else f"{finding.state}: "
                print_fact(Text(f"  {finding.name}: "), Text(f"{state}{finding.value}", STYLES[finding.state]))
                if finding.mend:
                    print_fact(Text("    to mend: ", "dim"), Text(finding.mend, "dim"))
