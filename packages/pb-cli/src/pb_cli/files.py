"""Files and folders that are there whole or not at all."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["entries", "keep_log", "move", "umask", "write_bytes", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o666 & ~umask())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def entries(folder: Path) -> list[Path]:
    """List a folder, which may not be there or go away meanwhile."""
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []


def move(draft: Path, target: Path) -> None:
    """Rename a finished draft; where another process was faster, its result stays and ours goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(draft)


def keep_log(draft: Path, failure: Path) -> None:
    """Keep what a failed task had logged."""
    with suppress(OSError):
        if (draft / "log.txt").is_file():
            failure.mkdir(parents=True, exist_ok=True)
            shutil.move(draft / "log.txt", failure / "log.txt")


def umask() -> int:
    """Read the process's umask, which temporary files do not follow by themselves."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
