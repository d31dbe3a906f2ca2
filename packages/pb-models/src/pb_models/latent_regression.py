"""The minimum-norm regression of scVIDR: from a context's control centroid to its shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LatentRegression", "Projection", "project"]

CUTOFF = 1e-6  # singular values below this share of the largest are rounding, not spread of the centroids


class Projection(NamedTuple):
    """The point of the contexts' affine hull nearest to a target: its `weights` (contexts,) and its `distance`."""

    weights: NDArray[np.float64]
    distance: float


def project(centroids: NDArray[np.floating], target: NDArray[np.floating]) -> Projection:
    """Project a target (d,) on the affine hull of centroids (contexts, d): min |sum_i w_i c_i - t|, sum_i w_i = 1.

    w = 1/n + (t - mean c) pinv(C), C being the centred centroids; of all solutions it is the one of least norm. Centred
    centroids have rank n - 1 at most, so at most n - 1 singular values are kept, and of those only what exceeds 1e-6 of
    the largest: the n-th is rounding, and dividing by it ruins the weights. Computed in float64 whatever is given.

    Examples
    --------
    >>> weights, distance = project(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([3.0, 1.0]))
    >>> weights.round(9).tolist(), round(distance, 9)
    ([-0.5, 1.5], 1.0)
    """
    points, aim = np.asarray(centroids, dtype=np.float64), np.asarray(target, dtype=np.float64)
    n = len(points)
    centre = points.mean(axis=0)
    left, values, right = np.linalg.svd(points - centre, full_matrices=False)
    kept = int((values[: n - 1] > CUTOFF * values[0]).sum())
    offset = left[:, :kept] @ ((right[:kept] @ (aim - centre)) / values[:kept])
    weights = 1 / n + (offset - offset.mean())
    return Projection(weights, float(np.linalg.norm(weights @ points - aim)))


class LatentRegression(NamedTuple):
    """Least squares with intercept from control centroid to shift, fitted on contexts; both (contexts, latent).

    There are more latent dimensions than contexts, so it interpolates: f(c_i) = d_i, and f(c) = sum_i w_i d_i with
    weights that sum to one (`project`), whatever the rotation of the latent space.
    """

    contexts: list[str]
    centroids: NDArray[np.float64]
    shifts: NDArray[np.float64]

    def shift(self, centroid: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the shift (latent,) at a control centroid (latent,).

        Examples
        --------
        >>> line = LatentRegression(["A", "B"], np.array([[0.0], [1.0]]), np.array([[5.0], [6.0]]))
        >>> line.shift(np.array([3.0])).round(9).tolist()
        [8.0]
        """
        return np.asarray(project(self.centroids, centroid).weights @ self.shifts)

    def without(self, context: str | None) -> LatentRegression:
        """Return the regression on the other contexts; itself where the context is none of its own."""
        if context not in self.contexts:
            return self
        rest = [i for i, name in enumerate(self.contexts) if name != context]
        return LatentRegression([self.contexts[i] for i in rest], self.centroids[rest], self.shifts[rest])
