"""`pb completion`: the script that makes a shell complete verbs, flags and names."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script that makes a shell complete what you type.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for SHELL; it completes verbs, flags, files and names of `pb ls`.

    \b
    Examples:
      echo 'eval "$(pb completion bash)"' >> ~/.bashrc
      echo 'eval "$(pb completion zsh)"' >> ~/.zshrc
      pb completion fish > ~/.config/fish/completions/pb.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click has had all three since version 8.0
    click.echo(found(context.find_root().command, {}, "pb", "_PB_COMPLETE").source())
