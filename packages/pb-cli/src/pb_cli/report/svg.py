"""Figures as SVG inside a page: text stays text, and colours follow the page's light or dark scheme."""

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "PAPER", "SERIES", "STYLE", "inline_svg"]

INK, PAPER, MUTED, RULE = "#000000", "#ffffff", "#59616b", "#d9d9d9"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#6f4e9c")
"""Colours of Okabe and Ito (2008), the yellow darkened and a violet added; each has a lighter twin on dark pages."""

_VARIABLES = {
    INK: "currentColor",
    PAPER: "var(--page)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    "#7f7f7f": "var(--muted)",
    "#8a8a8a": "var(--muted)",  # baselines of the critical-difference diagram
    "#1f4e79": "var(--series-0)",  # and its models
    **{colour: f"var(--series-{place})" for place, colour in enumerate(SERIES)},
}
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
}


def inline_svg(figure: "Figure", salt: str, dpi: int = 110) -> str:
    """Write a figure as an SVG element; `salt` keeps the identifiers of several in one page apart.

    Points marked as rasterised become pictures of `dpi`.
    """
    import matplotlib as mpl

    image = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(image, format="svg", transparent=True, dpi=dpi, metadata={"Date": None, "Creator": None})
    text = image.getvalue()
    width = float(figure.get_size_inches()[0]) * 96
    return _lean(text[text.index("<svg") :], width)


def _lean(text: str, width: float) -> str:
    """Leave out what a page does not need, and take colours and letters from it."""
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]+"', text)
    assert view is not None
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = re.sub(
        r"<svg.*?>", f'<svg {links} {view[0]} style="width:{width:.0f}px" fill="currentColor">', text, count=1
    )
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    text = re.sub(r" ?font-family: [^;\"]+;?", "", text)
    text = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", text)
    text = re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: _VARIABLES.get(found[0].lower(), found[0]), text)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)  # places, no labels
    text = re.sub(r"\s*\n\s*", " ", text)
    return _without_empty_groups(re.sub(r">\s+<", "><", text)).strip()


def _without_empty_groups(text: str) -> str:
    """Leave out groups that hold nothing, and what then holds nothing but them."""
    while (shorter := re.sub(r"<(g|defs)/>|<(g|defs)></\2>", "", text)) != text:
        text = shorter
    return text
