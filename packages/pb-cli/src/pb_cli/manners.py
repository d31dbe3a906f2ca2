"""What all verbs have in common: -q and -v, help that fits narrow terminals, text that any locale can show."""

import codecs
import io
import shutil
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from pb_cli.console import messages

__all__ = ["mannered", "shown_anywhere", "traced", "verbosity_options", "walk"]

WIDEST = 100
PLAIN = str.maketrans("±↑↓→…–—−·×µ’‘“”≥≤‡", "~^v>.---.xu''\"\"><#")


class Formatter(click.HelpFormatter):
    """Help in columns that a narrow terminal shows: long flags get a line of their own."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write two columns, the first no wider than a third."""
        super().write_dl(rows, min(col_max, max(8, self.width // 3)), col_spacing)


class Context(click.Context):
    """Makes help as wide as the terminal, however narrow."""

    formatter_class = Formatter

    def make_formatter(self) -> click.HelpFormatter:
        """Take the width of the terminal, up to a comfortable one."""
        columns = shutil.get_terminal_size().columns
        return Formatter(width=max(20, min(columns, WIDEST) - 2))


def walk(command: click.Command, name: str = "pb") -> Iterator[tuple[str, click.Command]]:
    """Go through a command and all verbs below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        for verb, below in command.commands.items():
            yield from walk(below, f"{name} {verb}")


def mannered(app: click.Group) -> click.Group:
    """Give every verb the flags -q and -v and the help that all share."""
    for _, command in walk(app):
        command.context_class = Context
        if not isinstance(command, click.Group):
            verbosity_options(command)
    return app


def verbosity_options(command: click.Command) -> None:
    """Add -q and -v to a verb; one that has its own -q, which silences its progress, keeps it and obeys both."""
    own = next((each for each in command.params if isinstance(each, click.Option) and each.name == "quiet"), None)
    if own is not None:
        own.callback, own.help = _quieten, QUIET
    else:
        command.params.append(_flag("quiet", _quieten, QUIET))
    command.params.append(_flag("verbose", _speak, VERBOSE))


def _flag(name: str, callback: Callable[[click.Context, click.Parameter, bool], bool], words: str) -> click.Option:
    """Make a flag that works by its callback alone."""
    names = [f"--{name}", f"-{name[0]}"]
    return click.Option(names, is_flag=True, expose_value=False, callback=callback, help=words)


QUIET = "No messages but warnings and errors."
VERBOSE = "Every step of a training, and where in the code an error was raised."


def _quieten(_context: click.Context, _parameter: click.Parameter, asked: bool) -> bool:
    if asked:
        messages.level = -1
    return asked


def _speak(_context: click.Context, _parameter: click.Parameter, asked: bool) -> bool:
    if asked:
        messages.level = 1
    return asked


@contextmanager
def traced() -> Iterator[None]:
    """Print where an error came from before click says it in one sentence, if -v was given."""
    try:
        yield
    except click.ClickException as error:
        if messages.level > 0 and error.__cause__ is not None:
            click.echo("".join(traceback.format_exception(error.__cause__)), err=True, nl=False)
        raise


def shown_anywhere() -> None:
    """Let stdout and stderr write what their encoding lacks as something plain, one sign for one sign.

    >>> codecs.register_error("pb-plain", plain)
    >>> "±1 ↑ Größe".encode("ascii", "pb-plain")
    b'~1 ^ Gro?e'
    >>> "−0.1 ‡".encode("ascii", "pb-plain")
    b'-0.1 #'
    """
    codecs.register_error("pb-plain", plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pb-plain")


def plain(error: UnicodeError) -> tuple[str, int]:
    """Replace signs that an encoding lacks: marks by their like, letters by those without accents, others by ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_like, lacking)), error.end


def _like(sign: str) -> str:
    near: Any = unicodedata.normalize("NFKD", sign.translate(PLAIN))[0]
    return near if near.isascii() else "?"
