"""`pb data simulate`: cells whose response is known."""

from typing import Any

import click

from pb_cli.console import messages
from pb_cli.names import usage_errors
from pb_cli.options import out_options, out_path

__all__ = ["simulate"]

FIELDS = {
    "contexts": "n_contexts",
    "perturbations": "n_perturbations",
    "combinations": "n_combinations",
    "interacting": "n_interacting",
    "interaction": "interaction",
    "cells": "n_cells",
    "controls": "n_controls",
    "genes": "n_genes",
    "responding": "n_responding",
    "seed": "seed",
}  # flag -> field of SimulationSettings


@click.command(short_help="Simulate dose responses and combinations with a known truth.")
@out_options
@click.option("--doses", metavar="D,D,...", help="Doses of every perturbation, above 0.  [default: 0.1,1,10]")
@click.option("--contexts", type=int, help="Cell types, those with most cells first.  [default: 4]")
@click.option("--perturbations", type=int, help="Single perturbations.  [default: 3]")
@click.option("--combinations", type=int, help="Pairs of them.  [default: 2]")
@click.option("--interacting", type=int, help="How many of the pairs interact.  [default: 1, or no pair]")
@click.option("--interaction", type=float, help="A pair's log factor is 1 + this times the sum.  [default: 0.5]")
@click.option("--cells", type=int, help="Cells of each context, perturbation and dose.  [default: 30]")
@click.option("--controls", type=int, help="Control cells of each context.  [default: 100]")
@click.option("--genes", type=int, help="Genes, those with the highest mean first.  [default: 2000]")
@click.option("--responding", type=int, help="Genes that respond to each perturbation.  [default: 100]")
@click.option("--seed", type=int, help="Decides everything drawn.  [default: 0]")
def simulate(**flags: Any) -> None:
    """Write OUT.h5ad: real control cells, and real cells changed by known dose responses.

    Counts of the embedded PBMC controls follow Hill curves whose potency and efficacy differ by
    context. The expected profile of every condition lies in the file (varm["expected_counts"]),
    and `pb bench --data OUT.h5ad` takes it without further flags. An existing file is never
    overwritten.

    \b
    Examples:
      pb data simulate simulated.h5ad
      pb data simulate doses.h5ad --doses 0.1,0.3,1,3,10 --combinations 0
    """
    out = out_path(flags)
    if out.exists():
        msg = f"{out} is there already; give another name."
        raise click.UsageError(msg)
    with usage_errors():
        from pb_data import write_h5ad
        from pb_data.simulate import SimulationSettings
        from pb_data.simulate import simulate as draw

        adata, keys = draw(SimulationSettings(**settings_from(flags)))
        write_h5ad(out, adata, keys)
    n_contexts, n_conditions = adata.obs[keys.context].nunique(), adata.varm["expected_counts"].shape[1]
    messages.print(
        f"{out}: {adata.n_obs:,} cells x {adata.n_vars:,} genes, {n_conditions} conditions in {n_contexts} contexts.",
        soft_wrap=True,
    )


def settings_from(flags: dict[str, Any]) -> dict[str, Any]:
    """Translate the flags that were given to the fields of `SimulationSettings`."""
    settings = {FIELDS[name]: value for name, value in flags.items() if name in FIELDS and value is not None}
    if flags["doses"] is not None:
        settings["doses"] = tuple(dose(text) for text in flags["doses"].split(","))
    return settings


def dose(text: str) -> float:
    """Read a dose."""
    try:
        return float(text)
    except ValueError as error:
        msg = f"--doses has {text.strip()!r}, which is no number; write them like --doses 0.1,1,10."
        raise ValueError(msg) from error
