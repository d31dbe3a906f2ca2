"""What each metric declares, a family a file; importable without numpy."""

from __future__ import annotations

from pb_eval.catalogue import discrimination, distributions, genes, means, shifts

__all__ = ["METRICS"]

METRICS = (*means.METRICS, *shifts.METRICS, *distributions.METRICS, *genes.METRICS, *discrimination.METRICS)
