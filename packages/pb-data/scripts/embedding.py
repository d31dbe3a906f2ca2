"""What the scripts that embed data share: their arguments, a draft put in its place only when it holds, the proof."""

from __future__ import annotations

import argparse
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pb_data.datasets.embedded import read_embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData
    from scipy import sparse


def arguments(words: str | None, target: Path) -> tuple[Path, Path]:
    """Read the place of the originals and where to embed them; let the script say what it finds."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("--target", type=Path, default=target)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return given.original, given.target


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give a file to write, which takes the target's place unless something fails."""
    draft = target.with_suffix(".draft")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    logging.info("%s: %.2f MB", target, target.stat().st_size / 1e6)


def stored_cells(
    path: Path, matrix: sparse.csr_matrix, original: AnnData, columns: list[str]
) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    """Read embedded cells back, and fail unless they equal the matrix (sorted indices), names and obs columns."""
    expression, obs, genes = read_embedded(path)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(expression, part), getattr(matrix, part))
    pd.testing.assert_frame_equal(as_text(obs), as_text(original.obs[columns]), check_names=False)
    for column in columns:
        if isinstance(original.obs[column].dtype, pd.CategoricalDtype):
            assert list(obs[column].cat.categories) == [str(each) for each in original.obs[column].cat.categories]
    np.testing.assert_array_equal(genes, original.var_names)
    return expression, obs, genes


def as_text(obs: pd.DataFrame) -> pd.DataFrame:
    """Return columns as text, which is how their values are stored."""
    return obs.astype(str).set_axis(obs.index.astype(str))
