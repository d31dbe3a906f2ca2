"""Perturbation-response models for pb: baselines and published networks behind one protocol."""

__all__: list[str] = []
