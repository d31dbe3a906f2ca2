"""Names people type: near-name suggestions, and errors turned into exit codes."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import CompletionItem

from pb_cli.manners import traced

__all__ = ["DataProblem", "DefaultGroup", "SuggestingGroup", "split_names", "suggest", "usage_errors"]


class DataProblem(click.ClickException):
    """The data or a file is not what it should be: exit code 1, one sentence."""

    exit_code = 1


class SuggestingGroup(click.Group):
    """A click group that answers a misspelt verb with the nearest ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or fail naming the nearest verbs."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            msg = f"No such command {name!r}. {suggest(name, self.commands)}"
            ctx.fail(msg)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Ctrl-C ends it with exit code 130 wherever it comes."""
        try:
            with traced():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise SystemExit(130) from None


class DefaultGroup(SuggestingGroup):
    """A group whose first verb goes without saying: anything that is not one of its verbs is handed to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first verb before arguments that name none."""
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)  # a shell completes the verb
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs, else what the first verb takes: files."""
        return super().shell_complete(ctx, incomplete) or [CompletionItem(incomplete, type="file")]


def suggest(name: str, choices: Iterable[str]) -> str:
    """Suggest the nearest choices, then list them all."""
    listed = sorted(choices)
    near = difflib.get_close_matches(name, listed, n=2)
    return (f"Did you mean {' or '.join(near)}? " if near else "") + f"There is: {', '.join(listed)}."


def split_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Flatten repeated and comma-separated values: `("a,b", "c")` gives `("a", "b", "c")`."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what a library says about a wrong name or value into a usage error (exit code 2).

    Problems of the data itself (missing files, a schema that does not hold) leave with exit code 1.
    """
    from pb_data import DataFileError, SchemaError

    try:
        yield
    except (DataFileError, SchemaError) as error:
        raise DataProblem(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename and error.strerror else ""
        msg = f"{where}{error.strerror or error}"
        raise DataProblem(msg) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
