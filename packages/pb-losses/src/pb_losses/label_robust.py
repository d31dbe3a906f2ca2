"""Label-distributionally robust losses: LDR-KL, its softplus-normalised variant, and ALDR-KL.

Inputs as in :mod:`pb_losses.entropy`; for probabilities the expected value over the label (at classes^2 a sample).
Notation: q_k = m 1(k != c) + f_k - f_c, lambda the temperature, K classes, u the uniform distribution. The label
the loss charges for is the worst distribution p over classes, held near u by lambda KL(p||u): LDR = max_p sum_k p_k
q_k - lambda KL(p||u). Small lambda looks at the strongest rival (Crammer-Singer), large lambda at all alike (robust
to noisy labels).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .labels import classification_inputs
from .margin import margins
from .numerics import Loss, check_above, check_positive, check_within, reads_values
from .reduction import Reduction, reduce

__all__ = ["ALDR", "LDR", "LDRSoftplus", "aldr", "ldr", "ldr_softplus", "optimal_temperature"]


def ldr(
    logits: Tensor, target: Tensor, *, temperature: float = 1.0, margin: float = 0.1, reduction: Reduction = "mean"
) -> Tensor:
    """LDR-KL, lambda log( (1/K) sum_k exp(q_k / lambda) ).

    With lambda = 1 and m = 0 it is CE - log K; as lambda -> 0 it is :func:`pb_losses.cs`, as lambda -> infinity the
    mean of q without a hinge. It decreases in lambda, and lies between CS - lambda log K and CS.

    Parameters
    ----------
    temperature
        The paper's lambda, in units of the logits.
    margin
        m, by which the label should win, in units of the logits.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if the temperature is not positive or the margin is negative, or either is not
        finite.

    >>> ldr(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), margin=0.0)
    tensor(0.)

    Source: Zhu, Ying and Yang 2023, Label Distributionally Robust Losses for Multi-class Classification (arXiv
    2112.14869), the LDR-KL loss.
    """
    check_positive(temperature=temperature)
    check_within("margin", margin, low=0.0)
    labels = classification_inputs(logits, target)
    values = labels.over_labels(lambda f, c: _ldr(f, c, temperature, margin))
    return reduce(values, labels.mask, reduction)


def ldr_softplus(
    logits: Tensor, target: Tensor, *, temperature: float = 1.0, margin: float = 0.1, reduction: Reduction = "mean"
) -> Tensor:
    """LDR-KL of softplus-normalised logits g_k = K softplus(f_k) / sum_j softplus(f_j), as in the authors' code.

    What that changes: a constant added to the logits matters, the gaps of g are at most K, so the loss is bounded.
    Here it is computed from log softplus(f), and stays finite where the authors' code divides 0 by 0.

    Parameters
    ----------
    temperature, margin
        See :func:`ldr`; in units of g.

    Raises
    ------
    ValueError
        As :func:`ldr`.

    >>> ldr_softplus(torch.tensor([[-1e4, -1e4]]), torch.tensor([1]), margin=0.0)
    tensor(0.)

    Source: the code published with Zhu, Ying and Yang 2023 (arXiv 2112.14869).
    """
    check_positive(temperature=temperature)
    check_within("margin", margin, low=0.0)
    labels = classification_inputs(logits, target)
    normalised = labels.logits.shape[-1] * _log_softplus(labels.logits).softmax(-1)
    values = labels._replace(logits=normalised).over_labels(lambda f, c: _ldr(f, c, temperature, margin))
    return reduce(values, labels.mask, reduction)


def aldr(
    logits: Tensor,
    target: Tensor,
    *,
    temperature: float = 1.0,
    alpha: float = 2.0,
    margin: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    """ALDR-KL, max over lambda of LDR-KL(lambda) - alpha log K / (2 lambda_0) (lambda - lambda_0)^2, for each sample.

    The optimal lambda is found for each sample and step (:func:`optimal_temperature`); nothing is remembered
    between steps, so no sample ids are needed. Confident predictions get a small lambda, flat ones lambda_0.

    Parameters
    ----------
    temperature
        lambda_0, in units of the logits.
    alpha
        Above 1; how strongly lambda is held at lambda_0. As alpha -> infinity the loss is
        ``ldr(temperature=lambda_0)``.
    margin
        See :func:`ldr`.

    Raises
    ------
    ValueError
        As :func:`ldr`; or if alpha is not above 1 and finite.

    >>> aldr(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), margin=0.0)
    tensor(0.)

    Source: Zhu, Ying and Yang 2023, Label Distributionally Robust Losses for Multi-class Classification (arXiv
    2112.14869), the ALDR-KL loss.
    """
    check_positive(temperature=temperature)
    check_above("alpha", alpha, 1.0)
    check_within("margin", margin, low=0.0)
    labels = classification_inputs(logits, target)
    values = labels.over_labels(lambda f, c: _aldr(margins(f, c, margin), temperature, alpha))
    return reduce(values, labels.mask, reduction)


@torch.no_grad()
def optimal_temperature(q: Tensor, temperature: float, alpha: float, *, max_steps: int = 30) -> Tensor:
    """Solve lambda = lambda_0 (1 - KL(softmax(q/lambda)||u) / (alpha log K)) by Newton steps kept within a bracket.

    The solution lies in [lambda_0 (1 - 1/alpha), lambda_0]. It is the only one for alpha of 2 and more; nearer 1
    there may be several stationary points, and the one found is a local maximum.

    Parameters
    ----------
    q
        Margins, ``(batch, ..., classes)``.
    temperature, alpha
        lambda_0, positive, and alpha, above 1.
    max_steps
        Bound on the steps; a dozen usually suffice. Inside ``torch.compile`` and on accelerators all are taken.

    Returns
    -------
    Tensor
        lambda, ``(batch, ...)``.

    Raises
    ------
    ValueError
        For a temperature that is not positive, or alpha of 1 or less.

    >>> optimal_temperature(torch.zeros(1, 3), temperature=2.0, alpha=2.0)
    tensor([2.])

    Source: the zero of the derivative in lambda of the objective of :func:`aldr`.
    """
    check_positive(temperature=temperature)
    check_above("alpha", alpha, 1.0)
    log_k = math.log(q.shape[-1])
    stiffness = alpha * log_k / temperature
    low, high = torch.full_like(q[..., 0], temperature * (1 - 1 / alpha)), torch.full_like(q[..., 0], temperature)
    solution, rounding = high, 2 * torch.finfo(q.dtype).eps
    for _ in range(max_steps):
        z = q / solution.unsqueeze(-1)
        p = z.softmax(-1)
        mean, log_sum = (p * z).sum(-1), z.logsumexp(-1)
        slack = stiffness * (temperature - solution) - (mean - log_sum + log_k)
        low, high = torch.where(slack >= 0, solution, low), torch.where(slack <= 0, solution, high)
        slope = (p * (z - mean.unsqueeze(-1)).square()).sum(-1) / solution - stiffness
        newton = solution - slack / slope
        inside = (slope < 0) & (newton >= low) & (newton <= high)
        settled = slack.abs() <= rounding * (mean.abs() + log_sum.abs() + alpha * log_k)  # what is left is rounding
        solution = torch.where(inside, newton, torch.where(settled, solution, (low + high) / 2))
        if reads_values(q) and bool(settled.all()):
            break
    return solution


def _ldr(logits: Tensor, index: Tensor, temperature: float, margin: float) -> Tensor:
    label = index.unsqueeze(-1)
    lowered = logits.scatter_add(-1, label, torch.full_like(label, -margin, dtype=logits.dtype)) / temperature
    n_classes = logits.shape[-1]
    entropy = F.cross_entropy(lowered.reshape(-1, n_classes), index.reshape(-1), reduction="none").view(index.shape)
    return temperature * (entropy - math.log(n_classes))


def _aldr(q: Tensor, temperature: float, alpha: float) -> Tensor:
    solution = optimal_temperature(q, temperature, alpha)
    log_k = math.log(q.shape[-1])
    value = solution * (torch.logsumexp(q / solution.unsqueeze(-1), -1) - log_k)
    return value - alpha * log_k / (2 * temperature) * (solution - temperature).square()


def _log_softplus(x: Tensor) -> Tensor:
    far_below = x < -20  # there softplus(x) is exp(x) - exp(2 x) / 2 to within rounding
    return torch.where(far_below, x - x.clamp(max=-20).exp() / 2, F.softplus(x.clamp(min=-20)).log())


@dataclass(eq=False)
class LDR(Loss):
    """Module of :func:`ldr`.

    Raises
    ------
    ValueError
        When called, as :func:`ldr`.
    """

    temperature: float = 1.0
    margin: float = 0.1
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ldr(logits, target, temperature=self.temperature, margin=self.margin, reduction=self.reduction)


@dataclass(eq=False)
class LDRSoftplus(Loss):
    """Module of :func:`ldr_softplus`.

    Raises
    ------
    ValueError
        When called, as :func:`ldr_softplus`.
    """

    temperature: float = 1.0
    margin: float = 0.1
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ldr_softplus(logits, target, temperature=self.temperature, margin=self.margin, reduction=self.reduction)


@dataclass(eq=False)
class ALDR(Loss):
    """Module of :func:`aldr`.

    Raises
    ------
    ValueError
        When called, as :func:`aldr`.
    """

    temperature: float = 1.0
    alpha: float = 2.0
    margin: float = 0.1
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        settings = {"temperature": self.temperature, "alpha": self.alpha, "margin": self.margin}
        return aldr(logits, target, **settings, reduction=self.reduction)
