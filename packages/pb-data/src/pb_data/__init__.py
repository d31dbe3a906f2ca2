"""Perturbation data for pb: data sets, schema, preprocessing fitted on training cells, and honest splits."""

__all__: list[str] = []
