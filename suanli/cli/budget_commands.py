"""Budgets of projects and firms: list, set, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.session import AsJson, ProfileName, open_client

if TYPE_CHECKING:
    from suanli.client.client import Client

budget = typer.Typer(
    help="Budgets of projects and firms: list, set, remove.", no_args_is_help=True, rich_markup_mode=None
)
Project = Annotated[
    str | None,
    typer.Option("--project", help="Of this project; absent: of the firm with all of its projects."),
]
_OWNER = {"firm": "--firm", "project": "--project"}
Firm = Annotated[str | None, typer.Option("--firm", help="For operators: whose; absent: your own.")]


@budget.command("list")
def list_budgets(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List budgets with what is spent and held of each in this period."""
    from suanli.cli.output import print_json
    from suanli.cli.usage_tables import print_budgets

    with open_client(profile) as client:
        found = client.budgets()
    if as_json:
        print_json(found)
    else:
        print_budgets(found, empty="No budgets: every project may spend any amount.")


@budget.command("set")
def set_budget(
    amount: Annotated[str, typer.Argument(help="What may be spent, in CNY: 5000.00")],
    project: Project = None,
    firm: Firm = None,
    per: Annotated[
        str | None,
        typer.Option(
            help="month, year or total: when it is counted anew. Absent: as it is; of a new one, month."
        ),
    ] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Set what a project may spend. A job that could cost more than is left waits; what runs goes on."""
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import naming_options
    from suanli.cli.usage_tables import fen_of, owner_of
    from suanli.sentences.words import word

    typed = {**_OWNER, "amount_cny": "AMOUNT", "period": "--per"}
    with open_client(profile) as client, naming_options(typed, as_json=as_json):
        owner = _firm(client, firm)
        made = client.set_budget(
            owner, amount, project=project, period=per or _period(client, owner, project)
        )
    if as_json:
        print_json(made)
    else:
        left, amount = fen_of(made["left_cny"]), fen_of(made["amount_cny"])
        say(word("{name} has {left} CNY left of {amount}.", name=owner_of(made), left=left, amount=amount))


@budget.command("remove")
def remove_budget(
    project: Project = None, firm: Firm = None, profile: ProfileName = None, as_json: AsJson = False
) -> None:
    """Let a project spend any amount."""
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import naming_options
    from suanli.sentences.words import word

    with open_client(profile) as client, naming_options(_OWNER, as_json=as_json):
        owner = _firm(client, firm)
        client.remove_budget(owner, project=project)
    name = owner if project is None else f"{owner}/{project}"
    print_json({"removed": name}) if as_json else say(word("{name} may spend any amount.", name=name))


def _period(client: Client, firm: str, project: str | None) -> str:
    """Of the budget that there is."""
    known = {(each["firm"], each["project"]): each["period"] for each in client.budgets()}
    return known.get((firm, project), "month")


def _firm(client: Client, firm: str | None) -> str:
    from suanli.cli.errors import MISUSED, CliError

    owner = firm or client.whoami()["firm"]
    if owner is None:
        raise CliError("say whose budget: --firm NAME", MISUSED)
    return owner
