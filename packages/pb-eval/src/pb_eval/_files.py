"""Files that appear whole or not at all."""

import errno
import os
import uuid
from pathlib import Path

__all__ = ["NO_ROOM", "write_atomic"]

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomic(path: Path | str, content: bytes | memoryview) -> None:
    """Write `content` to a hidden file beside `path` and rename it, so that nobody ever sees half a file.

    Raises
    ------
    OSError
        Where the folder does not exist, or the disk or quota is full; `path` is then as it was before.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(Path(folder) / "a.txt", b"whole")
    ...     [(found.name, found.read_bytes()) for found in Path(folder).iterdir()]
    [('a.txt', b'whole')]
    """
    path = Path(path)
    if not path.parent.is_dir():
        msg = f"the folder {path.parent} does not exist: make it, then write {path.name} again"
        raise FileNotFoundError(errno.ENOENT, msg)
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with hidden.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        megabytes = memoryview(content).nbytes / 1e6
        msg = f"no room left for {path} ({megabytes:.1f} MB): free some space or choose another folder, then try again"
        raise OSError(error.errno, msg) from error
    finally:
        hidden.unlink(missing_ok=True)
