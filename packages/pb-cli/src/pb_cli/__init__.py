"""The `pb` command: benchmark single-cell perturbation-response prediction."""

__all__ = ["app", "main"]

from pb_cli.app import app, main
