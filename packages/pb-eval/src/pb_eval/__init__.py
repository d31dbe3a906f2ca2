"""Evaluation for pb: perturbation-response metrics with declared definitions, prediction files, result tables."""

__all__: list[str] = []
