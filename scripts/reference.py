"""Write the pages made from the code, docs/reference/ and docs/data/; a test says when they are no longer equal."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from click.testing import CliRunner
from pb_cli.app import app
from pb_cli.commands.ls import labelled_from, where_from
from pb_data import (
    DATASETS,
    FOLDS,
    LABELLED,
    SPLITS,
    DatasetCard,
    LabelledCard,
    get_fold_rule,
    get_split,
    labelled_card,
)
from pb_data import card as card_of
from pb_data.datasets.registry import get_dataset
from pb_data.labelled.registry import get_labelled
from pb_eval import METRICS, Metric
from pb_eval.supervised import SUPERVISED, SupervisedMetric
from pb_losses import LOSSES, loss_info
from pb_models import MODELS

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = "*Made from the code by `python scripts/reference.py`.*"
CODE = re.compile(r"(`+.*?`+)")
PAPER = re.compile(r"[A-Z][\w-]+( et al\.| and [A-Z]\w+)?,? [^.;]{0,45}?\(?\b(19|20)\d\d\b|\(arXiv|et al\. ")


def main() -> None:
    for name, text in pages().items():
        path = ROOT / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def pages() -> dict[str, str]:
    """Make every page: path below docs/ -> Markdown."""
    made = {
        "reference/cli.md": cli(),
        "reference/models.md": models(),
        "reference/losses.md": losses(),
        "reference/metrics.md": metrics(),
        "reference/splits.md": splits(),
        "reference/papers.md": papers(),
        "data/index.md": data_index(),
    }
    made |= {f"data/{name}.md": data_card(card_of(name)) for name in DATASETS}
    return made | {f"data/{name}.md": labelled_page(labelled_card(name)) for name in LABELLED}


def page(title: str, *parts: str) -> str:
    """Join the parts of a page."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part), WRITTEN]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Keep plain words and formulas from being read as Markdown; what stands in backticks is code already."""
    parts = CODE.split(" ".join(text.split()))
    escaped = [
        part if place % 2 else re.sub(r"([*<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", part) for place, part in enumerate(parts)
    ]
    return "".join(escaped).replace("|", "\\|")


def code(text: object) -> str:
    """Write code in a cell."""
    return f"`{text}`".replace("|", "\\|")


def cli() -> str:
    """Write what every command prints with `--help` on 100 columns."""
    parts = [f"## {' '.join(['pb', *verbs])}\n\n```text\n{help_of(verbs)}\n```" for verbs in all_verbs(app)]
    return page("Command line", "What `--help` prints. Data go to stdout, messages to stderr.", *parts)


def all_verbs(command: click.Command, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Walk over a command and those below it, as they are typed."""
    yield above
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from all_verbs(command.commands[name], (*above, name))


def help_of(verbs: Sequence[str]) -> str:
    result = CliRunner().invoke(app, [*verbs, "--help"], prog_name="pb", terminal_width=98)  # click's margin is 2
    return "\n".join(line.rstrip() for line in result.stdout.splitlines())


def models() -> str:
    """List the models with what they are made for and their cards."""
    rows = [
        (
            f"[`{name}`](../models/{card_page(entry.path, is_baseline=entry.is_baseline)})",
            "baseline" if entry.is_baseline else "network",
            entry.made_for,
            yes(entry.unseen_perturbations),
            ", ".join(map(code, entry.profiles)),
            yes(entry.can_stack),
            plain(entry.summary),
        )
        for name, entry in MODELS.items()
    ]
    columns = ("name", "kind", "made for", "unseen perturbations", "profiles", "trains together", "what it does")
    return page("Models", "Each name leads to its card.", table(columns, rows))


def card_page(path: str, *, is_baseline: bool) -> str:
    """Find the card of a model: the page whose name its module's begins with."""
    module = path.partition(":")[0].removeprefix("pb_models.")
    cards = sorted((ROOT / "docs" / "models").glob("*.md"), key=lambda card: -len(card.stem))
    return "baselines.md" if is_baseline else next(card.name for card in cards if module.startswith(card.stem))


def yes(value: bool) -> str:
    return "yes" if value else ""


def losses() -> str:
    """List the losses by kind, then each with its settings."""
    infos = [loss_info(name) for name in LOSSES]
    parts = []
    for kind in dict.fromkeys(info.kind for info in infos):
        of_kind = [info for info in infos if info.kind == kind]
        rows = [(code(i.name), plain(i.summary), code(i.equation), plain(i.paper)) for i in of_kind]
        parts.append(f"## {kind.capitalize()}\n\n{table(('name', 'when', 'formula', 'paper'), rows)}")
        settings = [
            (code(i.name), code(p.name), code(number(p.default)), ", ".join(map(number, p.grid)), plain(p.meaning))
            for i in of_kind
            for p in i.parameters
        ]
        parts.append(table(("loss", "setting", "default", "searched", "meaning"), settings))
        families = dict.fromkeys([*(info.family for info in of_kind), kind])
        figures = [name for name in families if (ROOT / "docs" / "losses" / f"{name}.svg").is_file()]
        parts += [f"![Values of the losses of family {name}](../losses/{name}.svg)" for name in figures]
    symbols = (
        "e = prediction - target, P = softmax(f), c the label, K classes, z features, y labels, l and d distances of "
        "labels; a grid is what the papers searched."
    )
    return page("Losses", symbols, *parts)


def number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def metrics() -> str:
    """List the metrics by family with what they declare."""
    parts = []
    for family in dict.fromkeys(metric.family for metric in METRICS.values()):
        rows = [metric_row(metric) for metric in METRICS.values() if metric.family == family]
        parts.append(f"## {family.capitalize()}\n\n{table(('name', 'better', 'what it is'), rows)}")
    words = "What they mean, and how they relate: [metrics](../metrics.md). In italics: what the audit found."
    labels = table(("name", "task", "better", "what it is"), map(label_metric_row, SUPERVISED.values()))
    return page("Table of metrics", words, *parts, f"## Predicted labels\n\n{labels}")


def label_metric_row(metric: SupervisedMetric) -> tuple[str, str, str, str]:
    """Write name, task, direction with range and perfect value, and the definition of a score of predicted labels."""
    return code(metric.name), metric.task, better(metric), plain(metric.definition)


def better(metric: Metric | SupervisedMetric) -> str:
    """Write direction, range and perfect value."""
    return f"{metric.direction}, {metric.range[0]:g} to {metric.range[1]:g}, perfect {metric.perfect:g}"


def metric_row(metric: Metric) -> tuple[str, str, str]:
    """Write name, direction with range and perfect value, and the definition with the version and the faults."""
    name = code(metric.name) + ("" if metric.default else " (on request)")
    version = f" (version {metric.version})" if metric.version > 1 else ""
    faults = f". *{plain(metric.caveat).capitalize()}.*" if metric.caveat else ""
    return name, better(metric), f"{plain(metric.definition)}{version}{faults}"


def splits() -> str:
    """List splits and folds with what they support."""
    rows = [(code(name), plain(get_split(name).summary), get_split(name).unseen) for name in SPLITS]
    folds = [(code(name), plain(get_fold_rule(name).summary)) for name in FOLDS]
    return page(
        "Splits and folds",
        "Every split says its claim in words; so do the folds of labelled data.",
        f"## Splits\n\n{table(('name', 'what it supports', 'unseen in training'), rows)}",
        f"## Folds\n\n{table(('name', 'what they support'), folds)}",
    )


def data_index() -> str:
    """List the data sets."""
    cards = [card_of(name) for name in DATASETS]
    rows = [(f"[`{c.name}`]({c.name}.md)", plain(c.title), where_from(c)) for c in cards]
    labelled = [labelled_card(name) for name in LABELLED]
    more = [(f"[`{c.name}`]({c.name}.md)", ", ".join(c.tasks), plain(c.title), labelled_from(c)) for c in labelled]
    return page(
        "Data sets",
        f"## Perturbation responses\n\n{table(('name', 'what', 'where from'), rows)}",
        f"## Labelled cells and rows\n\n{table(('name', 'tasks', 'what', 'where from'), more)}",
    )


def data_card(card: DatasetCard) -> str:
    """Write the card of a data set."""
    keys = {name: value for name, value in card.keys.to_dict().items() if value is not None}
    facts = {
        "size": size(card.n_cells, "cells", card.n_genes, "genes"),
        "contexts": plain(card.contexts),
        "keys": ", ".join(f"{name} {code(value)}" for name, value in keys.items()),
        "where from": plain(card.origin),
        "how to get it": plain(where_from(card)),
        "file": code(card.file_name) if card.file_name else "",
        "terms": plain(card.licence),
        "cite": plain(card.citation),
        "preprocessing": ", ".join(f"{name} {code(value)}" for name, value in card.preprocess.items()),
        "sha256": code(card.sha256) if card.sha256 else "none was published",
    }
    options = list(inspect.signature(get_dataset(card.name).read).parameters.values())
    return card_page_of(card.name, card.title, facts, card.note, options, f"pb data info {card.name}")


def labelled_page(card: LabelledCard) -> str:
    """Write the card of a labelled data set."""
    facts = {
        "tasks": ", ".join(card.tasks),
        "size": size(card.n_samples, "samples", card.n_features, "features"),
        "groups": plain(card.groups),
        "where from": plain(card.origin),
        "how to get it": plain(labelled_from(card)),
        "terms": plain(card.licence),
        "cite": plain(card.citation),
        "sha256": code(card.sha256) if card.sha256 else "of your files, recorded when they are read",
    }
    options = list(inspect.signature(get_labelled(card.name).read).parameters.values())
    return card_page_of(card.name, card.title, facts, card.note, options, f"pb data info {card.name}")


def size(n: int | None, of: str, m: int | None, features: str) -> str:
    known = [f"{count:,} {what}" for count, what in ((n, of), (m, features)) if count is not None]
    return " x ".join(known)


def card_page_of(
    name: str, title: str, facts: dict[str, str], note: str, options: list[inspect.Parameter], command: str
) -> str:
    """Write a card: what it is, its facts, its options and the command that shows it."""
    settable = [f"{code(each.name)} ({each.default})" for each in options if each.kind is each.KEYWORD_ONLY]
    facts |= {"options": ", ".join(settable)}
    rows = [(what, fact) for what, fact in facts.items() if fact]
    return page(name, f"{plain(title)}.", table(("", ""), rows), plain(note), f"Its cells, counted: `{command}`.")


def papers() -> str:
    """List the papers of CITATION.cff, then every docstring that names a source."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    rows = [(code(where), plain(words)) for where, words in sources()]
    return page(
        "Papers",
        "To cite what you used; [CITATION.cff](../../CITATION.cff) is the same for programs. Where the table below "
        "gives a paper without an equation, section, algorithm or theorem, none is known for certain.",
        "\n".join(f"- {reference(each)}" for each in cited),
        f"## What follows which paper\n\n{table(('where', 'source, with its equation where one is known'), rows)}",
    )


def reference(entry: dict[str, Any]) -> str:
    """Write one reference."""
    names = [author["family-names"] for author in entry["authors"]]
    who = f"{names[0]} et al." if len(names) > 3 else ", ".join(names)
    where = entry.get("journal") or entry.get("collection-title")
    link = f"https://doi.org/{entry['doi']}" if "doi" in entry else entry["url"]
    note = f" ({plain(entry['notes']).rstrip('.')})" if "notes" in entry else ""
    return f"{who} {entry['year']}, [{plain(entry['title'])}]({link}), {plain(where)}{note}."


def sources() -> Iterator[tuple[str, str]]:
    """Walk over the docstrings of the libraries: where, and the sentences that name a paper."""
    for path in sorted(ROOT.glob("packages/*/src/*/**/*.py")):
        module = ".".join(path.relative_to(ROOT / "packages").with_suffix("").parts[2:])
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found = [each for each in sentences(ast.get_docstring(node) or "") if PAPER.search(each)]
                if found and not module.startswith("pb_cli"):
                    yield f"{module}.{node.name}", " ".join(found)


def sentences(text: str) -> list[str]:
    """Part the prose of a docstring into sentences; its tables of parameters and its examples are left out."""
    paragraphs = re.split(r"\n\s*\n|\n\s*- ", text)
    prose = [" ".join(each.split()) for each in paragraphs if ">>>" not in each and "\n---" not in each]
    words = [re.sub(r"^Source: |:\w+:(?=`)", "", each).replace("``", "`") for each in prose]
    return [sentence for each in words for sentence in re.split(r"(?<=[\w)`][\w)`]\.) (?=[A-Z])(?<!al\. )", each)]


if __name__ == "__main__":
    main()
