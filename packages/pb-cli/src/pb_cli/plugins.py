"""Models, losses, metrics and data sets of other installed packages, and what is wrong with those that do not load."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pb_cli.checkup import Finding

__all__ = ["plugins"]

#: group -> what an entry point has to lead to, the registry of built-in names
GROUPS = {
    "pb.models": ("pb_models.base:Model", "pb_models.registry:MODELS"),
    "pb.losses": ("torch.nn:Module", "pb_losses.registry:LOSSES"),
    "pb.metrics": ("pb_eval.metric:Metric", "pb_eval.registry:METRICS"),
    "pb.datasets": ("pb_data.datasets.cards:Dataset", "pb_data.datasets.registry:DATASETS"),
}


def plugins() -> Iterator[Finding]:
    """Load every plug-in, and name what is wrong with it."""
    found = [(group, point) for group in GROUPS for point in entry_points(group=group)]
    if not found:
        yield Finding("plug-ins", "installed", f"none (entry points {', '.join(GROUPS)})")
    for group, point in found:
        fault = _fault(group, point)
        owner = "" if point.dist is None else f" of {point.dist.name} {point.dist.version}"
        value = f"{point.value}{owner}" + (f": {fault}" if fault else "")
        mend = f"mend or uninstall {point.dist.name if point.dist else point.value}" if fault else ""
        yield Finding("plug-ins", f"{group} {point.name}", value, "broken" if fault else "ok", mend)


def _fault(group: str, point: EntryPoint) -> str:
    """Say what is wrong with a plug-in, or nothing."""
    kind, registry = GROUPS[group]
    if point.name in _at(registry):
        return "takes the name of a built-in one"
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 (code of others: whatever it raises is the finding)
        return f"{type(error).__name__}: {error}"
    wanted = _at(kind)
    fits = issubclass(loaded, wanted) if isinstance(loaded, type) else isinstance(loaded, wanted)
    is_class_wanted = group in {"pb.models", "pb.losses"}
    if not fits or isinstance(loaded, type) != is_class_wanted:
        article = "a class derived from" if is_class_wanted else "an instance of"
        return f"is {loaded!r}, expected {article} {kind.replace(':', '.')}"
    return ""


def _at(place: str) -> Any:
    """Import `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
