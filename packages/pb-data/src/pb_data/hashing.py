"""Content hashes that do not depend on the platform; reading this file imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["canonical_json", "file_sha256", "matrix_sha256", "text_sha256"]


def canonical_json(value: Any) -> str:
    """Return JSON with sorted names and no blanks, the same text for the same value everywhere.

    Raises
    ------
    ValueError
        Where a number is NaN or infinite.

    Examples
    --------
    >>> canonical_json({"b": [1, 2.5], "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, in hex.

    Examples
    --------
    >>> text_sha256("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matrix_sha256(
    X: sparse.csr_matrix, obs: pd.DataFrame, genes: Iterable[str], *, values: Literal["<i4", "<f4"] = "<i4"
) -> str:
    """Return the SHA-256 of a matrix with its names and obs columns, in hex.

    Hashed in this order: data as little-endian int32 (counts) or float32 (log1p values), column indices (sorted in each
    row) and row pointers as little-endian int64; then one line each of cell names, gene names and, for each obs column
    in order, its name and its values as text.
    """
    import numpy as np

    digest = hashlib.sha256()
    arrays: list[tuple[NDArray[Any], str]] = [(X.data, values), (X.indices, "<i8"), (X.indptr, "<i8")]
    for array, dtype in arrays:
        digest.update(np.ascontiguousarray(array, dtype=dtype).data)
    lines = [obs.index.astype(str), genes, *([str(name), *obs[name].astype(str)] for name in obs.columns)]
    for line in lines:
        digest.update("\x1f".join(line).encode() + b"\n")
    return digest.hexdigest()
