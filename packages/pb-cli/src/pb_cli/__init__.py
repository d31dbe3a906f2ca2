"""The pb command: benchmark single-cell perturbation-response prediction."""

__all__: list[str] = []
