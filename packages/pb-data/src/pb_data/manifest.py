"""Splits as hashed text files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_data.splits import Split

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["MANIFEST_VERSION", "read_manifest", "write_manifest"]

MANIFEST_VERSION = 1


def write_manifest(split: Split, path: str | PathLike[str]) -> None:
    """Write a split as JSON text, whole or not at all."""
    target = Path(path)
    content = {"manifest_version": MANIFEST_VERSION, "hash": split.hash, "split": split.to_dict()}
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def read_manifest(path: str | PathLike[str]) -> Split:
    """Read a split and hold it to its hash.

    Raises
    ------
    ValueError
        Where the file is no manifest, was written by another version, or was changed after it was written.
    """
    content = parse(Path(path))
    split = Split.from_dict(content["split"])
    if split.hash != content["hash"]:
        msg = f"{path} was changed after it was written: its content hashes to {split.hash}, it says {content['hash']}"
        raise ValueError(msg)
    return split


def parse(path: Path) -> dict[str, Any]:
    """Return a manifest's content."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is no split manifest: not JSON ({error})"
        raise ValueError(msg) from error
    if not isinstance(content, dict) or not {"manifest_version", "hash", "split"} <= content.keys():
        msg = f"{path} is no split manifest: it needs manifest_version, hash and split"
        raise ValueError(msg)
    if content["manifest_version"] != MANIFEST_VERSION:
        msg = f"{path} has manifest version {content['manifest_version']}, not {MANIFEST_VERSION}; make the split anew"
        raise ValueError(msg)
    return content
