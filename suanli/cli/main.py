"""The program `suanli`.

Nothing is loaded before a command needs it: help and errors of typing must be there at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

from suanli.cli import account_commands as account
from suanli.cli import (
    budget_commands,
    change_commands,
    content_commands,
    job_commands,
    log_commands,
    money_commands,
    offer_commands,
    reach_commands,
    receipt_commands,
    secret_commands,
    waiting_commands,
)
from suanli.cli import fleet_commands as fleet
from suanli.cli.apply_command import apply
from suanli.cli.control_plane import PASS_ON, admin, demo, simulate, up
from suanli.cli.output import AS_YAML
from suanli.cli.program import run

app = typer.Typer(
    name="suanli",
    help="Jobs on pools of accelerators from many vendors, with usage that can be verified.\n\n"
    "Exit code 0: done. 1: it failed, was refused, or was checked and found wrong. 2: it was typed wrongly, or a file"
    " or a setting that it names cannot be used. 3: verify found nothing wrong, but had no policy. 130: interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _later(verb: str, told: str) -> None:
    """A verb that is a program of its own, `suanli.cli.VERB`; it is loaded when somebody types it."""

    def begin(context: typer.Context) -> None:
        run(import_module(f"suanli.cli.{verb}").app, context.args, f"suanli {verb}")

    app.command(verb, context_settings=PASS_ON, help=told)(begin)


app.command()(job_commands.submit)
app.command()(job_commands.jobs)
app.command()(job_commands.show)
app.command()(log_commands.logs)
app.command()(content_commands.fetch)
app.command()(reach_commands.forward)
app.command()(reach_commands.attach)
app.command()(change_commands.cancel)
app.command()(change_commands.hold)
app.command()(change_commands.release)
app.command()(change_commands.requeue)
app.command("set")(change_commands.set_)
app.command()(waiting_commands.explain)
app.command()(waiting_commands.queue)
app.command()(waiting_commands.validate)
app.command()(log_commands.events)
app.command()(money_commands.usage)
app.command()(money_commands.close)
app.command()(money_commands.bundle)
_later("verify", "Verify a bundle offline, under your own policy.")
_later("sample", "Draw a random sample for inspection: of a bundle, or with --server of the whole log.")
_later("witness", "Watch a log: cosign what only grows.")
_later("proof", "Prove that an entry is in the evidence log, and check such a proof.")
app.command()(fleet.nodes)
app.command()(offer_commands.models)
app.command()(offer_commands.pools)
app.command()(offer_commands.prices)
app.command()(fleet.queues)
app.command()(fleet.quotas)
app.command()(fleet.calendar)
app.command()(fleet.cordon)
app.command("join-token")(fleet.join_token)
app.command()(apply)
app.command()(account.login)
app.command()(account.whoami)
app.add_typer(account.profiles, name="profile")
app.add_typer(account.keys, name="keys")
app.add_typer(account.users, name="users")
app.add_typer(receipt_commands.app, name="receipt")
app.add_typer(secret_commands.secret, name="secret")
app.add_typer(budget_commands.budget, name="budget")
app.command(context_settings=PASS_ON)(up)
app.command(context_settings=PASS_ON)(demo)
app.command(context_settings=PASS_ON)(simulate)
app.command(context_settings=PASS_ON)(admin)


@app.command()
def version(
    as_json: bool = typer.Option(False, "--json", help="Print JSON for programs."),
) -> None:
    """Show the version of this program."""
    from importlib.metadata import version as installed

    from suanli.cli.output import print_json, say

    found = installed("suanli")
    print_json({"suanli": found}) if as_json else say(f"suanli {found}")


def _choose_output(arguments: list[str]) -> None:
    """`-o json` and `-o yaml` (also --output) mean --json for every verb, YAML on request."""
    from suanli.cli.errors import MISUSED, CliError

    for at, argument in enumerate(arguments[1:], start=1):
        if argument in ("--output=json", "--output=yaml"):
            arguments[at : at + 1] = argument.split("=")
            break
    for at, argument in enumerate(arguments[1:-1], start=1):
        if argument in ("-o", "--output") and arguments[at + 1] in ("json", "yaml"):
            if at == 1 or (at == 2 and arguments[1] in {group.name for group in app.registered_groups}):
                raise CliError(f"{argument} {arguments[at + 1]} goes after the command", MISUSED)
            if arguments[at + 1] == "yaml":
                os.environ[AS_YAML] = "1"
            arguments[at : at + 2] = ["--json"]
            return


def main() -> None:
    """Run the command line; the exit codes are those of its help."""
    from suanli.cli.errors import CliError
    from suanli.client.errors import ClientError

    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        _choose_output(sys.argv)
        run(app)
    except (ClientError, CliError) as error:
        from suanli.cli.refusals import report

        sys.exit(report(error, as_json="--json" in sys.argv[1:]))
