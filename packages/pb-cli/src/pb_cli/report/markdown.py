"""A report as Markdown: the same document without its figures, of which only the words remain."""

from collections.abc import Iterator

from pb_cli.report.blocks import Block, Cell, Code, Document, Facts, Figure, Figures, Fold, Prose, Row, Table

__all__ = ["to_markdown"]


def to_markdown(document: Document) -> str:
    """Write a document as Markdown with tables."""
    lines = [f"# {document.title}"]
    for section in document.sections:
        depth = section.level + 1
        lines.append(f"{'#' * depth} {section.title}")
        for block in section.blocks:
            lines += _block(block, depth)
    return "\n\n".join(lines) + "\n"


def _block(block: Block, depth: int) -> Iterator[str]:
    """Write a block as paragraphs."""
    match block:
        case Prose(text=text, tone=tone):
            yield f"**{_plain(text)}**" if tone in {"lead", "warning"} else _plain(text)
        case Table():
            yield _table(block)
        case Figure(alt=alt, caption=caption):
            yield f"Figure, {_plain(caption)}: {_plain(alt)}"
        case Figures(figures=figures):
            for figure in figures:
                yield from _block(figure, depth)
        case Facts(items=items):
            yield "\n".join(f"- {name}: {_plain(value)}" for name, value in items)
        case Code(text=text):
            yield f"```\n{text.rstrip()}\n```"
        case Fold(title=title, blocks=blocks):
            yield f"{'#' * min(6, depth + 1)} {title}"
            for inner in blocks:
                yield from _block(inner, depth + 1)


def _table(table: Table) -> str:
    """Write a table below its caption."""
    heads = [Cell(column.name) for column in table.columns]
    rule = "|".join(" ---: " if column.is_number else " --- " for column in table.columns)
    lines = [_row(heads), f"|{rule}|", *(_row(row.cells, row) for row in table.rows)]
    return "\n".join([_plain(table.caption), "", *lines])


def _row(cells: list[Cell], row: Row | None = None) -> str:
    """Write a row; baselines in italics, the best in bold."""
    texts = [_cell(cell) for cell in cells]
    if row is not None and row.kind == "baseline":
        named = next(place for place, cell in enumerate(cells) if cell.note == "baseline") if _named(cells) else 0
        texts[named] = f"*{_plain(cells[named].text)}*"
    return f"| {' | '.join(texts)} |"


def _named(cells: list[Cell]) -> bool:
    return any(cell.note == "baseline" for cell in cells)


def _cell(cell: Cell) -> str:
    text = _plain(cell.text)
    text = f"**{text}**" if cell.mark == "best" else text
    if not cell.note or cell.note == "baseline":
        return text
    note = _plain(cell.note)
    return f"{text} {note}" if note.startswith("±") else f"{text} ({note})"


def _plain(text: str) -> str:
    """Keep text from starting a table's cell, emphasis or an element."""
    for char in ("\\", "|", "*", "<"):
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())
