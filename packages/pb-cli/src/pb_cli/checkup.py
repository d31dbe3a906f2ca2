"""What `pb doctor` looks at: each finding says what is there, whether that is sound, and what to mend."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

from pb_cli.threads import VARIABLES, cores

__all__ = ["Finding", "State", "examine"]

State = Literal["ok", "note", "broken"]

MEMBERS = ("pb-cli", "pb-data", "pb-eval", "pb-losses", "pb-models")
LIBRARIES = ("torch", "anndata", "scanpy", "numpy", "pandas", "scipy", "scikit-learn")
SECONDS = 5.0  # that a command of Slurm may take
LITTLE, NEXT_TO_NOTHING = 5.0, 0.1  # GiB of free disk


class Finding(NamedTuple):
    """One thing looked at; `mend` says what to do about it, and is empty where nothing is to be done."""

    topic: str
    name: str
    value: str
    state: State = "ok"
    mend: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, one topic after the other; nothing is changed, and no command is waited for long."""
    from pb_cli.plugins import plugins

    yield from versions()
    yield from devices()
    yield from threads()
    yield from caches()
    yield from slurm()
    yield from plugins()
    yield from disk()


def versions() -> Iterator[Finding]:
    """Versions of Python, of the libraries that make the numbers and of the packages, which have to be of one."""
    yield Finding("versions", "python", platform.python_version())
    for name in LIBRARIES:
        found = _version(name)
        yield Finding("versions", name, found) if found else _missing(name)
    ours = {name: _version(name) for name in MEMBERS}
    expected = ours["pb-cli"]
    for name, found in ours.items():
        if not found:
            yield _missing(name)
        elif found != expected:
            mend = f"the five packages go together: pip install {name}=={expected}"
            yield Finding("versions", name, f"{found}, pb-cli is {expected}", "broken", mend)
        else:
            yield Finding("versions", name, found)


def _version(name: str) -> str:
    """Version of an installed distribution; nothing where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _missing(name: str) -> Finding:
    return Finding("versions", name, "not installed", "broken", f"pip install {name}")


def devices() -> Iterator[Finding]:
    """Processors this process may use, CUDA devices and Apple's, as torch sees them."""
    allowed, there = cores(), os.cpu_count() or 1
    mend = "" if allowed == there else "Slurm, taskset or a container allows no more; ask for more there"
    yield Finding("devices", "cpu", f"{allowed} of {there} cores", "ok" if allowed == there else "note", mend)
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding("devices", "torch", f"cannot be imported: {error}", "broken", "install torch again")
        return
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(number).total_memory / 2**30
            yield Finding("devices", f"cuda:{number}", f"{torch.cuda.get_device_name(number)}, {memory:.1f} GiB")
    else:
        yield _without_cuda(torch.version.cuda, driver=shutil.which("nvidia-smi") is not None)
    there_is_mps = torch.backends.mps.is_available()
    yield Finding("devices", "mps", "yes" if there_is_mps else "none")


def _without_cuda(built_for: str | None, *, driver: bool) -> Finding:
    """Say why torch sees no CUDA device, which is a fault only where there seems to be one."""
    if built_for is None and driver:
        mend = "if there is a GPU, install a torch that is built for CUDA: https://pytorch.org/get-started/locally"
        return Finding("devices", "cuda", "nvidia-smi is here, torch is built without CUDA", "note", mend)
    if built_for is None:
        return Finding("devices", "cuda", "none; torch is built without it")
    mend = "nvidia-smi says whether there is a GPU and a driver new enough" if driver else ""
    return Finding("devices", "cuda", f"none; torch is built for CUDA {built_for}", "note" if driver else "ok", mend)


def threads() -> Iterator[Finding]:
    """Say how many threads the libraries are told to use."""
    for name in VARIABLES:
        told = os.environ.get(name, "")
        if not told:
            yield Finding("threads", name, "not set: each job of pb gets its share of the cores")
        elif not told.isdigit() or int(told) < 1:
            yield Finding("threads", name, repr(told), "broken", f"unset {name}, or write a number from 1")
        elif int(told) > cores():
            mend = f"more than the {cores()} cores slow everything down; unset {name}"
            yield Finding("threads", name, told, "note", mend)
        else:
            yield Finding("threads", name, told)
    try:
        yield Finding("threads", "torch", str(import_module("torch").get_num_threads()))
    except (ImportError, OSError):
        return


def caches() -> Iterator[Finding]:
    """Where fetched data sets lie, how large they are, whether more can be written; the file with a site's defaults."""
    from pb_data.datasets.files import cache_folder

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    words = f"{folder}, {size / 2**20:,.1f} MiB"
    if _writable(folder):
        yield Finding("caches", "data sets", words)
    else:
        mend = "make it writable, or set XDG_CACHE_HOME to a folder that is; embedded data sets need none"
        yield Finding("caches", "data sets", f"{words}, not writable", "broken", mend)


def _writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which need not be there yet."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def slurm() -> Iterator[Finding]:
    """Ask Slurm for its version and its limit of an array's size, where there is a Slurm.

    Only --array needs one: what is missing or set up for no cluster is no fault, a cluster that does not answer is.
    """
    from pb_cli.slurm import SlurmError, call, max_array_size

    commands = {name: shutil.which(name) for name in ("sbatch", "squeue", "scontrol", "sacct")}
    absent = [name for name, path in commands.items() if path is None]
    if len(absent) == len(commands):
        yield Finding("slurm", "commands", "none: --array needs a login node of a cluster")
        return
    needed = [name for name in absent if name != "sacct"]
    mend = f"{', '.join(needed)} must be on the path too: is this a login node?" if needed else ""
    there = ", ".join(name for name in commands if name not in absent)
    yield Finding("slurm", "commands", there, "note" if needed else "ok", mend)
    if needed:
        return
    try:
        yield Finding("slurm", "version", call("sbatch", "--version", seconds=SECONDS).strip())
        yield Finding("slurm", "elements of one job", f"{max_array_size(seconds=SECONDS):,}")
    except SlurmError as error:
        yield _silence(str(error))
    yield from _site()


def _silence(words: str) -> Finding:
    """Tell a Slurm that knows of no cluster from one whose cluster does not answer."""
    if "configuration source" in words:  # what its commands say where there is no slurm.conf
        return Finding("slurm", "answer", "set up for no cluster: --array needs a login node of one")
    *_, last = words.splitlines()
    return Finding("slurm", "answer", last, "broken", "is the controller up? try: scontrol ping")


def _site() -> Iterator[Finding]:
    """Read the file with the site's defaults, if there is one."""
    from pb_cli.site import read_site, usual_site

    if (path := usual_site()) is None:
        yield Finding("slurm", "site file", "none (docs: On a cluster)")
        return
    try:
        read_site(path, {}, ())
        yield Finding("slurm", "site file", str(path))
    except (ValueError, OSError) as error:
        yield Finding("slurm", "site file", str(error), "broken", f"mend {path}")


def disk() -> Iterator[Finding]:
    """Free disk where runs and temporary files go."""
    for name, folder in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 2**30
        state: State = "broken" if free < NEXT_TO_NOTHING else "note" if free < LITTLE else "ok"
        mend = "" if state == "ok" else f"free some, or {'work' if name == 'here' else 'set TMPDIR'} elsewhere"
        yield Finding("disk", name, f"{free:,.1f} GiB free in {folder}", state, mend)
