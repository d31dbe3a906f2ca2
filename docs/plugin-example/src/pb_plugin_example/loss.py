"""One loss in one file: the logarithm of the hyperbolic cosine of the error."""

import math

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


class LogCosh(nn.Module):
    """Mean of log cosh(e), e = prediction - target: e^2/2 for small errors, |e| - log 2 for large ones.

    >>> import torch
    >>> LogCosh()(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 100.0]))
    tensor(49.6534)
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over targets that are not NaN; log cosh e = e + log(1 + exp(-2e)) - log 2 never overflows."""
        error = (prediction - target)[~target.isnan()]
        return (error + F.softplus(-2 * error) - math.log(2)).mean()
