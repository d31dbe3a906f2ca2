"""Figures of all conditions, put into their folder when everything has been scored."""

import re
import shutil
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pb_cli.console import messages

if TYPE_CHECKING:
    from pb_eval.reference import Cells, Reference

__all__ = ["Gallery"]

MOST = 20


class Gallery:
    """Draws figures into a hidden folder beside the one asked for; what is there is kept, but for files of one name.

    As a context manager: on success the figures move to `folder`, on failure they vanish. Without a folder nothing is
    drawn.
    """

    def __init__(self, folder: Path | None, *, umap: bool = False) -> None:
        self.folder, self.umap = folder, umap
        self._draft = None if folder is None else folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
        self._places: dict[Path, str] = {}
        self._passed = 0

    def __enter__(self) -> Self:
        if self.folder is not None and not self.folder.parent.is_dir():
            msg = f"--figures {self.folder}: the folder {self.folder.parent} does not exist; make it first."
            raise FileNotFoundError(msg)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            msg = f"--figures {self.folder} is a file: name a folder."
            raise NotADirectoryError(msg)
        if self.umap:
            from pb_eval.figure_data import has_umap

            if not has_umap():
                msg = "--umap needs umap-learn, which is not installed: pip install umap-learn, or leave --umap out."
                raise ValueError(msg)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._draft is None or self.folder is None or not self._draft.exists():
            return
        try:
            if kind is None:
                self._publish(self._draft, self.folder)
        finally:
            shutil.rmtree(self._draft)

    def draw(self, model: str, condition: str, prediction: "Cells", reference: "Reference") -> None:
        """Draw the figures of one condition."""
        if self._draft is None:
            return
        if len(self._places) >= MOST:
            self._passed += 1
            return
        from pb_eval.figures import draw_condition

        place = self._place(model, condition)
        (self._draft / place).mkdir(parents=True)
        draw_condition(prediction, reference, self._draft / place, title=f"{model}: {condition}", umap=self.umap)

    def _place(self, model: str, condition: str) -> Path:
        """Return a folder name of its own for a condition."""
        place = Path(_slug(model)) / _slug(condition)
        number = 2
        while place in self._places:
            place = place.with_name(f"{_slug(condition)}-{number}")
            number += 1
        self._places[place] = condition
        return place

    def _publish(self, draft: Path, folder: Path) -> None:
        """Move every file to its place."""
        for file in sorted(path for path in draft.rglob("*") if path.is_file()):
            target = folder / file.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        more = f"; {self._passed} more conditions are not drawn" if self._passed else ""
        messages.print(f"Figures of {len(self._places)} conditions in {folder}{more}.", soft_wrap=True)


def _slug(text: str) -> str:
    """Make a file name of any text.

    Examples
    --------
    >>> _slug("'TCDD' at dose 0.3 in 'B cells'")
    'TCDD_at_dose_0.3_in_B_cells'
    """
    return re.sub(r"[^\w.+-]+", "_", text).strip("_.") or "unnamed"
