"""What `pb bench` does with the plan of either arm: show it, submit it, or run what is missing and show the results."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from pb_cli.console import count, messages
from pb_cli.display import Display
from pb_cli.execute import Options, execute
from pb_cli.names import DataProblem, usage_errors
from pb_cli.pausing import StoppedError, stop_signals
from pb_cli.stopping import note_stop, unfinished
from pb_cli.store import RunFolder
from pb_cli.submission import asked_site, command_flags, make_array, show_array, submit_tasks, surveyed

if TYPE_CHECKING:
    from pb_cli.plan import Plan
    from pb_cli.supervised.planning import SupervisedPlan

    AnyPlan = Plan | SupervisedPlan

__all__ = ["Steps", "carry_out", "run_missing", "show_draft"]


class Steps(NamedTuple):
    """What differs between the arms: what is said before anything runs, and what is shown of the results."""

    announce: Callable[[], None]
    finish: Callable[[], None]


def show_draft(plan: "AnyPlan", flags: dict[str, Any], options: Options, show_plan: Callable[..., None]) -> None:
    """Show what would run, or with `--array` what would be submitted."""
    if not flags["array"]:
        show_plan(plan, as_json=flags["as_json"])
        return
    with usage_errors():
        show_array(make_array(plan.tasks, asked_site(flags), flags, command_flags(options)), plan.tasks)


def carry_out(
    plan: "AnyPlan", folder: RunFolder, record: dict[str, Any], flags: dict[str, Any], options: Options, steps: Steps
) -> None:
    """Open the run folder, run or submit what is missing, show the results; exit with 1 where a task failed."""
    with ExitStack() as stack:
        with usage_errors():
            stack.enter_context(folder.locked())
            folder.open(plan.tasks, record)
        steps.announce()
        if flags["plan_only"]:
            return
        if flags["array"]:
            with usage_errors():
                submit_missing(plan, folder, flags, options)
            return
        try:
            problem = run_missing(plan, folder, options, quiet=flags["quiet"])
            steps.finish()
        except OSError as error:  # those of a task are recorded; here the folder takes not even the record
            msg = f"{folder.path}: {error.strerror or error}. What is finished is kept; mend that, repeat the command."
            raise DataProblem(msg) from error
    if problem:
        messages.print(problem, style="red", soft_wrap=True)
        raise SystemExit(1)


def submit_missing(plan: "AnyPlan", folder: RunFolder, flags: dict[str, Any], options: Options) -> None:
    """Submit what is neither done, nor runs, nor waits."""
    found = surveyed(folder, plan.tasks)
    missing = found.those("failed", "missing")
    if not missing:
        messages.print("Nothing to submit: every task is done, runs or waits.")
        return
    submit_tasks(folder, make_array(missing, asked_site(flags), flags, command_flags(options), found.forecast))


def run_missing(plan: "AnyPlan", folder: RunFolder, options: Options, *, quiet: bool) -> str:
    """Run what is not done; say in one sentence what went wrong, if anything. Ctrl-C keeps what is done."""
    missing = [task for task in plan.tasks if not folder.is_done(task)]
    display = Display(missing, quiet=quiet)
    try:
        with stop_signals():
            with display:
                execute(missing, folder, options, display.handle, filter(folder.is_done, plan.tasks))
            if left := unfinished(missing, folder, display):
                return note_stop(left, folder, display)
    except StoppedError:
        return note_stop(unfinished(missing, folder, display), folder, display)
    except KeyboardInterrupt:
        done = sum(map(folder.is_done, plan.tasks))
        folder.collect(plan.tasks)
        messages.print(f"Interrupted: {done} of {len(plan.tasks)} tasks are kept; the same command continues.")
        raise SystemExit(130) from None
    if not display.failures:
        return ""
    failed = f"{len(display.failures)} of {count(len(plan.tasks), 'task')} failed"
    return f"{failed}; tracebacks: {folder.path / 'failed'}/<id>/traceback.txt"
