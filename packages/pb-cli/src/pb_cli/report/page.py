"""A report as one page that needs nothing but itself: no network, no other file."""

from pathlib import Path

from pb_cli.report.blocks import Document

__all__ = ["to_html"]

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(document: Document) -> str:
    """Write a document as HTML with its styles, script and figures inside; all text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    files = {name: (_TEMPLATES / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return environment.get_template("report.html.j2").render(document=document, **files)
