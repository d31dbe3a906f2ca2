"""Draw a figure for each family of losses: value against the residual, the margin, or the label's probability.

python experiments/losses_figures.py [--out docs/losses]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pb_losses
import torch
from torch import Tensor

Curves = dict[str, Callable[[Tensor], Tensor]]


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


FIGURES: dict[str, tuple[str, tuple[float, float], Curves]] = {
    "pointwise": (
        "residual",
        (-4, 4),
        {
            "mae": residual("mae"),
            "mse": residual("mse"),
            "huber": residual("huber"),
            "focal-mae, beta 1": residual("focal-mae", beta=1.0),
            "focal-mse, beta 1": residual("focal-mse", beta=1.0),
        },
    ),
    "aligned": (
        "noise of the prediction, in standard deviations of the target",
        (0.01, 3),
        {
            **{f"far, alpha {a:g}": aligned("far", alpha=a, form="exp") for a in (0.1, 1.0, 10.0)},
            "mae+pearson": aligned("mae+pearson"),
        },
    ),
    "features": ("noise of the features", (0.01, 4), {name: spread(name) for name in ("rnc", "conr", "ranksim")}),
    "entropy": (
        "logit of the label minus the two others",
        (-6, 6),
        {name: lead(name) for name in ("ce", "sce", "gce", "nce", "js")}
        | {"rce, log 0 = -4": lead("rce", log_zero=-4.0)},
    ),
    "bounded": (
        "logit of the label minus the two others",
        (-6, 6),
        {name: lead(name) for name in ("mae-cls", "brier", "agce", "aul", "rll")},
    ),
    "margin": ("logit of the label minus the two others", (-4, 4), {name: lead(name) for name in ("cs", "ww")}),
    "label-robust": (
        "logit of the label minus the two others",
        (-4, 4),
        {
            **{f"ldr, temperature {t:g}": lead("ldr", temperature=t) for t in (0.1, 1.0, 10.0)},
            "ldr-softplus": lead("ldr-softplus"),
            "aldr": lead("aldr"),
        },
    ),
}


def draw(title: str, label: str, limits: tuple[float, float], curves: Curves, path: Path) -> None:
    figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    x = torch.linspace(*limits, 81)
    for name, curve in curves.items():
        axis.plot(x, curve(x), label=name)
    axis.set(xlabel=label, ylabel="loss", title=title)
    axis.legend(fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))  # matplotlib leaves blanks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/losses"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "pb-losses"  # the same file each time
    for name, figure in FIGURES.items():
        draw(name, *figure, out / f"{name}.svg")


if __name__ == "__main__":
    main()
