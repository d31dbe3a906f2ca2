"""Speed and memory of the losses against the published algorithms, and MSE and CE: ratios of one run, one thread.

    OMP_NUM_THREADS=1 python benchmarks/losses_speed.py [--out FILE.md] [--compiled]

Times are CPU seconds of the process, the least of interleaved repetitions, forward and backward, float32. Memory is
what the first call adds to the peak resident set of a fresh process that has run a small batch before.
"""

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pb_losses
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


def published_rnc(z: Tensor, y: Tensor, temperature: float = 2.0) -> Tensor:
    """For each rank, mask all samples against that rank's distance: n masks of n x n."""
    n = len(z)
    logits = -(z.unsqueeze(1) - z).norm(dim=2) / temperature
    distance = (y.unsqueeze(1) - y).abs()
    logits = logits - logits.max(1, keepdim=True).values.detach()
    others = ~torch.eye(n, dtype=torch.bool)
    logits, distance = logits[others].view(n, n - 1), distance[others].view(n, n - 1)
    exponentials, total = logits.exp(), logits.new_zeros(())
    for k in range(n - 1):
        mask = (distance >= distance[:, k : k + 1]).float()
        total = total - (logits[:, k] - (mask * exponentials).sum(1).log()).sum() / (n * (n - 1))
    return total


def published_conr(z: Tensor, y: Tensor, p: Tensor, temperature: float = 0.07, e: float = 0.01) -> Tensor:
    """All pairs at once, every mask and product a matrix of its own."""
    label, predicted = (y.unsqueeze(1) - y).abs(), (p.unsqueeze(1) - p).abs()
    unit = F.normalize(z, dim=1)
    s = unit @ unit.T / temperature
    positive = (label <= 1).float()
    for i in range(len(z)):
        positive[i, i] = 0
    negative = ((label > 1) * (predicted <= 1)).float()
    s = s - s.max(1, keepdim=True).values.detach()
    exponentials = s.exp()
    pushed = negative * torch.exp(label * e) * exponentials
    log_p = s - torch.log((positive * exponentials).sum(1) + pushed.sum(1)).unsqueeze(1)
    active = (negative.sum(1) > 0).float()
    return (-(log_p * positive).sum(1) / positive.sum(1).clamp(min=1e-5) * active).mean()


def rank_row(row: Tensor) -> Tensor:
    return (row.argsort(descending=True).argsort() + 1).float() / len(row)


class RankOfOneRow(torch.autograd.Function):
    """The published blackbox ranking, one row at a time."""

    @staticmethod
    def forward(ctx, row: Tensor, interpolation: float) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: D102
        ranks = rank_row(row)
        ctx.save_for_backward(row, ranks)
        ctx.interpolation = interpolation
        return ranks

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: D102
        row, ranks = ctx.saved_tensors
        return -(ranks - rank_row(row + ctx.interpolation * grad)) / ctx.interpolation, None


def published_ranksim(z: Tensor, y: Tensor, interpolation: float = 2.0) -> Tensor:
    """For each sample, rank its similarities and its label distances."""
    unit = F.normalize(z, dim=1)
    similarity, total = unit @ unit.T, z.new_zeros(())
    for i in range(len(z)):
        label_ranks = rank_row(-(y[i] - y).abs())
        total = total + F.mse_loss(RankOfOneRow.apply(similarity[i], interpolation), label_ranks)
    return total


def features(n: int, d: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(n, d, generator=generator), 10 * torch.rand(n, generator=generator)
    return z, y, y + torch.randn(n, generator=generator)


def feature_losses(name: str, n: int) -> tuple[Loss, Loss, Tensor]:
    """Ours, the published one, and features."""
    z, y, p = features(n)
    pairs: dict[str, tuple[Loss, Loss]] = {
        "rnc": (lambda x: pb_losses.rnc(x, y), lambda x: published_rnc(x, y)),
        "conr": (lambda x: pb_losses.conr(x, y, p), lambda x: published_conr(x, y, p)),
        "ranksim": (lambda x: pb_losses.ranksim(x, y), lambda x: published_ranksim(x, y)),
    }
    return *pairs[name], z


def forward_backward(loss: Loss, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        loss(x.detach().requires_grad_()).backward()

    return run


def least_seconds(runs: list[Callable[[], None]], repetitions: int) -> list[float]:
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(repetitions):
        for run, record in zip(runs, times, strict=True):
            start = time.process_time()
            run()
            record.append(time.process_time() - start)
    return [min(record) for record in times]


def added_megabytes(name: str, which: int, n: int) -> float:
    code = f"import losses_speed as b; print(b.peak_of_first_call({name!r}, {which}, {n}))"
    folder = Path(__file__).parent
    return float(subprocess.check_output([sys.executable, "-c", code], cwd=folder))


def peak_of_first_call(name: str, which: int, n: int) -> float:
    torch.set_num_threads(1)
    *small, z = feature_losses(name, 32)
    forward_backward(small[which], z)()
    *losses, z = feature_losses(name, n)
    before = peak_megabytes()
    forward_backward(losses[which], z)()
    return peak_megabytes() - before


def peak_megabytes() -> float:
    """Peak resident set of this process (Linux)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def feature_table() -> list[str]:
    lines = [
        "| loss | batch | published ms | here ms | times faster | published MB | here MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, n, repetitions in (
        ("rnc", 256, 5),
        ("rnc", 512, 3),
        ("ranksim", 512, 5),
        ("conr", 512, 20),
        ("conr", 2048, 5),
    ):
        ours, published, z = feature_losses(name, n)
        a, b = least_seconds([forward_backward(ours, z), forward_backward(published, z)], repetitions)
        memory = [added_megabytes(name, which, n) for which in (1, 0)]
        lines.append(
            f"| {name} | {n} | {b * 1e3:.1f} | {a * 1e3:.1f} | {b / a:.1f} | {memory[0]:.0f} | {memory[1]:.0f} |"
        )
    ours, _, z = feature_losses("rnc", 2048)
    seconds = least_seconds([forward_backward(ours, z)], 2)[0]
    lines.append(f"| rnc | 2048 | - | {seconds * 1e3:.0f} | - | not run | {added_megabytes('rnc', 0, 2048):.0f} |")
    return lines


def batch_losses(n: int = 1024, k: int = 100) -> dict[str, tuple[Loss, Loss, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, k, generator=generator), torch.randn(n, k, generator=generator)
    c = torch.randint(0, k, (n,), generator=generator)
    return {
        "far over MSE": (lambda p: pb_losses.far(p, y), lambda p: F.mse_loss(p, y), x),
        "ldr over CE": (lambda f: pb_losses.ldr(f, c), lambda f: F.cross_entropy(f, c), x),
    }


def batch_table(*, compiled: bool) -> list[str]:
    lines = ["| ratio at 1024 x 100 | eager | compiled over eager | compiled over compiled |", "|---|---|---|---|"]
    for name, (ours, plain, x) in batch_losses().items():
        losses = [ours, plain, *([torch.compile(ours), torch.compile(plain)] if compiled else [])]
        times = least_seconds([forward_backward(loss, x) for loss in losses], 300)
        cells = [f"{times[0] / times[1]:.2f} ({times[0] * 1e6:.0f} / {times[1] * 1e6:.0f} us)"]
        cells += [f"{times[2] / times[1]:.2f}", f"{times[2] / times[3]:.2f}"] if compiled else ["-", "-"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compiled", action="store_true", help="also with torch.compile (needs a C++ compiler)")
    parser.add_argument("--only", choices=["batch", "features"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    if arguments.only != "features":
        lines += batch_table(compiled=arguments.compiled)
    if arguments.only != "batch":
        lines += ["", *feature_table()]
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    head = f"Forward and backward, one thread, {versions}; features of size 64."
    command = "OMP_NUM_THREADS=1 python benchmarks/losses_speed.py --compiled --out benchmarks/losses_speed.md"
    report = "\n".join(["# Speed and memory of the losses", "", head, "", f"    {command}", "", *lines, ""])
    print(report)
    if arguments.out:
        arguments.out.write_text(report)


if __name__ == "__main__":
    main()
