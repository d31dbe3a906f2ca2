"""What each metric declares, a family a file; importable without numpy."""

from __future__ import annotations

from dataclasses import replace

from pb_eval.catalogue import classic, discrimination, distributions, genes, means, shifts
from pb_eval.catalogue.faults import faults_of

__all__ = ["METRICS"]

_FAMILIES = (means, shifts, distributions, genes, discrimination, classic)

METRICS = tuple(replace(metric, faults=faults_of(metric.name)) for family in _FAMILIES for metric in family.METRICS)
