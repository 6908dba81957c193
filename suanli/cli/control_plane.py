"""up, demo, simulate, admin: handed to the control plane, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from suanli.cli.errors import CliError

# Everything behind the verb belongs to the other program, --help included.
PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


def run_scheduler(verb: str, arguments: list[str]) -> None:
    """Become `python -m scheduler VERB ...`. Raises CliError where the control plane is not installed."""
    if importlib.util.find_spec("scheduler") is None or importlib.util.find_spec("scheduler.app") is None:
        raise CliError(
            f"suanli {verb} needs the control plane, and only the client is installed here: "
            "install suanli-scheduler[embedded], or run it where the control plane is"
        )
    command = [sys.executable, "-m", "scheduler", verb, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["SUANLI_PROGRAM"] = "suanli"  # its help and its errors then name what was typed
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - signals and the exit code pass as they are
    import subprocess

    raise typer.Exit(subprocess.run(command, check=False).returncode)


def up(context: typer.Context) -> None:
    """Run the whole control plane on this machine."""
    run_scheduler("up", context.args)


def demo(context: typer.Context) -> None:
    """Run the main job on simulated devices: two firms, a bill, and its proof."""
    run_scheduler("demo", context.args)


def simulate(context: typer.Context) -> None:
    """Rehearse a policy: last month's jobs, or a trace, under other quotas, prices or profiles."""
    run_scheduler("simulate", context.args)


def admin(context: typer.Context) -> None:
    """At the machine itself: the first operator, join tokens, histories, what would be if."""
    run_scheduler("admin", context.args)
