"""Draw a figure for each family of losses: value against the residual, the margin, or the label's probability.

python experiments/losses_figures.py [--out docs/losses]
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pb_losses
import torch
from cycler import cycler
from torch import Tensor

torch.set_default_dtype(torch.float64)  # the ranks of RankSim then do not hang on the last digit

Curves = dict[str, Callable[[Tensor], Tensor]]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000")  # told apart by the colour-blind
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)))  # and where one curve lies on another


def residual(name: str, **settings: float) -> Callable[[Tensor], Tensor]:
    loss = pb_losses.get_loss(name, reduction="none", **settings)
    return lambda e: loss(e, torch.zeros_like(e))


def lead(name: str, **settings: float) -> Callable[[Tensor], Tensor]:
    """Of three classes, the label's logit is x above the two others."""
    loss = pb_losses.get_loss(name, reduction="none", **settings)
    return lambda x: loss(
        torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], 1), torch.zeros(len(x), dtype=torch.long)
    )


def aligned(name: str, **settings: float | str) -> Callable[[Tensor], Tensor]:
    """Predictions wrong by a constant, a scale or noise of size x."""
    loss = pb_losses.get_loss(name, **settings)
    generator = torch.Generator().manual_seed(0)
    y, noise = torch.randn(256, generator=generator), torch.randn(256, generator=generator)
    return lambda x: torch.stack([loss(y + size * noise, y) for size in x])


def spread(kind: str) -> Callable[[Tensor], Tensor]:
    """Features on a line in the order of the labels, with noise of size x."""
    generator = torch.Generator().manual_seed(0)
    y = torch.linspace(0, 4, 40)
    z, noise = torch.stack([y, torch.ones(40)], 1), torch.randn(40, 2, generator=generator)
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "rnc": lambda f: pb_losses.rnc(f, y),
        "conr": lambda f: pb_losses.conr(f, y, torch.zeros(40), temperature=1.0),
        "ranksim": lambda f: pb_losses.ranksim(f, y),
    }
    return lambda x: torch.stack([losses[kind](z + size * noise) for size in x])


class Figure(NamedTuple):
    """Title, label and limits of the horizontal axis, and the curves by name."""

    title: str
    label: str
    limits: tuple[float, float]
    curves: Curves


LEAD = "logit of the label minus that of the two other classes"
FIGURES = {
    "pointwise": Figure(
        "Losses of one prediction and one target",
        "residual, in units of the target",
        (-3, 3),
        {
            "mae": residual("mae"),
            "mse": residual("mse"),
            "huber, delta 1": residual("huber"),
            "focal-mae, beta 1": residual("focal-mae", beta=1.0),
            "focal-mse, beta 1": residual("focal-mse", beta=1.0),
        },
    ),
    "aligned": Figure(
        "Losses that align a batch with its targets",
        "noise of the predictions, in standard deviations of the target",
        (0.01, 3),
        {
            **{f"far (exp form), alpha {a:g}": aligned("far", alpha=a, form="exp") for a in (0.1, 1.0, 10.0)},
            "mae+pearson": aligned("mae+pearson"),
        },
    ),
    "features": Figure(
        "Losses on features of 40 samples",
        "noise added to features in the order of the labels",
        (0.01, 4),
        {name: spread(name) for name in ("rnc", "conr", "ranksim")},
    ),
    "entropy": Figure(
        "Losses built on cross entropy",
        LEAD,
        (-6, 6),
        {name: lead(name) for name in ("ce", "sce", "gce", "nce", "js")}
        | {"rce, log 0 = -4": lead("rce", log_zero=-4.0)},
    ),
    "bounded": Figure(
        "Bounded losses of the label's probability",
        LEAD,
        (-6, 6),
        {name: lead(name) for name in ("mae-cls", "brier", "agce", "aul", "rll")}
        | {"apl, alpha 1, beta 0.1": lead("apl", alpha=1.0, beta=0.1)},
    ),
    "margin": Figure("Hinge losses", LEAD, (-4, 4), {f"{name}, margin 1": lead(name) for name in ("cs", "ww")}),
    "label-robust": Figure(
        "Label-distributionally robust losses",
        LEAD,
        (-4, 4),
        {
            **{f"ldr, temperature {t:g}": lead("ldr", temperature=t) for t in (0.1, 1.0, 10.0)},
            "ldr-softplus": lead("ldr-softplus"),
            "aldr": lead("aldr"),
        },
    ),
}


def draw(drawn: Figure, path: Path) -> None:
    figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
    x = torch.linspace(*drawn.limits, 81)
    for name, curve in drawn.curves.items():
        axis.plot(x, curve(x), label=name)
    axis.set(xlabel=drawn.label, ylabel="loss", title=drawn.title)
    axis.grid(color="0.9")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))  # matplotlib leaves blanks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/losses"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    mpl.rc("axes", prop_cycle=cycler(color=COLOURS, linestyle=DASHES))
    mpl.rc("lines", linewidth=1.8)
    mpl.rc("svg", hashsalt="pb-losses")  # the same file each time
    for name, figure in FIGURES.items():
        draw(figure, out / f"{name}.svg")


if __name__ == "__main__":
    main()
