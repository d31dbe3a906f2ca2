"""Robust losses for regression and classification: FAR/GAR, LDR and friends, exact and fast, for any PyTorch training loop."""

__all__: list[str] = []
