"""What each metric declares, a family a file; importable without numpy."""

from __future__ import annotations

from pb_eval.catalogue import classic, discrimination, distributions, genes, means, shifts

__all__ = ["METRICS"]

_FAMILIES = (means, shifts, distributions, genes, discrimination, classic)

METRICS = tuple(metric for family in _FAMILIES for metric in family.METRICS)
