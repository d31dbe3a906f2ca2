"""Names that a shell completes; neither torch nor anndata is imported for them."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

__all__ = ["complete", "complete_words"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete(*kinds: str) -> Completer:
    """Complete names of `pb ls KIND`, in lists with commas the last one."""

    def completer(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _beginning((name for kind in kinds for name in NAMES[kind]()), incomplete)

    return completer


def complete_words(*words: str) -> Completer:
    """Complete one of these words."""

    def completer(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _beginning(words, incomplete)

    return completer


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Keep names that begin like the last part of what was typed, with the parts before it."""
    before, comma, last = incomplete.rpartition(",")
    typed = set(before.split(","))
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last) and name not in typed]


def _datasets() -> list[str]:
    from pb_data.datasets.registry import dataset_names

    return dataset_names()


def _labelled() -> list[str]:
    from pb_data.labelled.registry import labelled_names

    return labelled_names()


def _models() -> list[str]:
    from pb_models.registry import model_names

    return ["all", "baselines", *model_names()]


def _metrics() -> list[str]:
    from pb_eval.registry import metric_names

    return metric_names()


def _losses() -> list[str]:
    from pb_losses.registry import loss_names

    return ["all", "none", *loss_names()]


def _splits() -> list[str]:
    from pb_data.splits import split_names

    return split_names()


def _folds() -> list[str]:
    from pb_data.labelled.folds import fold_names

    return fold_names()


NAMES: dict[str, Callable[[], list[str]]] = {
    "datasets": _datasets,
    "labelled": _labelled,
    "models": _models,
    "metrics": _metrics,
    "losses": _losses,
    "splits": _splits,
    "folds": _folds,
}
