"""The command `scheduler`: the processes of the control plane, and what an administrator does beside them.

Every import of a room is late: each process loads its own and nothing of the others.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from scheduler.admin_commands import admin
from scheduler.process import FAILED, MISUSED, PROGRAM, fail, run, sentence_of
from scheduler.settings import Settings, SettingsError, Witness
from scheduler.terminal import AsJson, Data, done, note, print_json, say, settings_of, wait_for_up
from suanli.cli.program import run as run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.domain.errors import DomainError
    from scheduler.simulator.what_if import Asked

app = typer.Typer(
    name="scheduler",
    help="Suanli's control plane. Settings come from SUANLI_* variables; see each command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(admin, name="admin", rich_help_panel=None)


def main() -> None:
    """Run the command line; `suanli up|demo|simulate|admin` says under which name it was called."""
    run_program(app, name=os.environ.get(PROGRAM))


def _serve(process: str, settings: Settings, name: str | None = None) -> NoReturn:
    from scheduler.wiring import PROCESSES, role_url, server_of

    try:
        url = role_url(settings, PROCESSES[process])
    except SettingsError as error:
        raise typer.Exit(fail(str(error), MISUSED)) from error

    async def serve(stop: asyncio.Event, announce: Any) -> None:
        # Loading a room makes objects that stay: looking for garbage among them only makes the start longer.
        gc.disable()
        server = server_of(process, settings, url)
        gc.freeze()
        gc.enable()
        await server(stop, announce)

    raise typer.Exit(run(process, settings, serve, url, name=name))


@app.command()
def api(
    data: Data = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that share the port. Default: 1.", show_default=False),
    ] = None,
) -> None:
    """Serve REST, event streams and the console."""
    settings = settings_of(data=data, api_workers=workers)
    if settings.api_socket is not None:
        _serve("api", settings, f"api-{settings.api_worker}")
    if (settings.api_workers or 1) > 1:
        from scheduler.up.workers import serve_api

        raise typer.Exit(serve_api(settings, settings.api_workers or 1))
    _serve("api", settings)


@app.command()
def gateway(data: Data = None) -> None:
    """Serve agents over gRPC."""
    _serve("gateway", settings_of(data=data))


@app.command()
def controller(data: Data = None) -> None:
    """Plan and place; one of several leads."""
    _serve("controller", settings_of(data=data))


@app.command()
def ledger(data: Data = None) -> None:
    """Keep the evidence log and rate usage; one of several leads."""
    _serve("ledger", settings_of(data=data))


@app.command()
def migrate(
    data: Data = None,
    set_passwords: Annotated[
        bool, typer.Option("--set-passwords", help="Let the service roles log in with the kept passwords.")
    ] = False,
) -> None:
    """Bring the database to this program's schema and its roles to their rights."""
    import psycopg
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    from scheduler.secret_files import role_passwords
    from scheduler.storage import roles
    from scheduler.storage.engine import conninfo
    from scheduler.storage.migrate import upgrade
    from scheduler.wiring import role_url

    settings = settings_of(data=data)
    try:
        url = role_url(settings, roles.OWNER)
        if set_passwords:
            # Before anything is changed: what the second leaves behind would refuse the first its next start.
            with psycopg.connect(conninfo(url)) as owner:
                roles.require_alone(owner)
        upgrade(url)
        if set_passwords:
            kept = role_passwords(settings)
            with psycopg.connect(conninfo(url)) as owner:
                roles.set_passwords(owner, {role: kept[role] for role in roles.SERVICE_ROLES})
    except DBAPIError as error:
        raise typer.Exit(fail(sentence_of(error.orig or error))) from error
    except (
        psycopg.Error,
        CommandError,
        roles.RolesMissing,
        roles.RolesTaken,
        SettingsError,
        ValueError,
    ) as error:
        raise typer.Exit(fail(sentence_of(error))) from error


@app.command()
def up(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    data: Data = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the API; agents get the two after it. 0: any free ones.", show_default=False
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Address to listen on; further ones are names that agents dial.", show_default=False
        ),
    ] = None,
    window_ms: Annotated[
        int | None, typer.Option(help="Length of usage windows; divides 300000.", show_default=False)
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="NAME=URL of a witness; needs a --witness-key.", show_default=False),
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE with the witness's vkey.", show_default=False)
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="First of the ports for Prometheus, on loopback: one a process.", show_default=False
        ),
    ] = None,
    api_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Processes that serve the API. Default: one for every four processors, four at most.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine, with a PostgreSQL of its own unless SUANLI_DATABASE_URL is set."""
    gc.disable()  # until all is loaded that its processes share
    from scheduler.up.run import Installation, UpFailed

    if window_ms is not None:
        _check_window(window_ms)
    ports = {}
    if port is not None:
        ports = {"api_port": port, "fleet_port": port and port + 1, "enrolment_port": port and port + 2}
    names = list(host or ())
    settings = settings_of(
        data=data,
        host=names[0] if names else None,
        window_ms=window_ms,
        witnesses=_witnesses(witness or [], witness_key or []),
        metrics_port=metrics_port,
        api_workers=api_workers,
        **ports,
    )
    try:
        raise typer.Exit(
            Installation(settings, names[1:], note if as_json else say, main, as_json=as_json).run()
        )
    except UpFailed as error:
        raise typer.Exit(fail(str(error))) from error


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running and print the addresses.")
    ] = False,
    window_ms: Annotated[
        int, typer.Option(help="Length of usage windows; divides 300000. 2000: something to see soon.")
    ] = 2000,
    record: Annotated[
        Path | None,
        typer.Option(help="Also write the last picture and the ending as SVG.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell the story on standard error, and print its results as JSON.")
    ] = False,
) -> None:
    """Run the main job: two firms, three simulated nodes, a bill, and its proof."""
    from scheduler.demo.story import run as run_demo

    _check_window(window_ms)
    raise typer.Exit(run_demo(keep=keep, window_ms=window_ms, record=record, as_json=as_json))


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    jobs: Annotated[
        Path,
        typer.Argument(
            help="Jobs: a history (.json[.gz], from `suanli admin history`), or a table of jobs (.csv[.gz])."
        ),
    ],
    cluster: Annotated[
        Path | None, typer.Option(help="Cluster file (YAML); a history brings its own.", show_default=False)
    ] = None,
    cluster_name: Annotated[
        str | None, typer.Option(help="Which cluster, in a file of several.", show_default=False)
    ] = None,
    change: Annotated[
        list[Path] | None,
        typer.Option(
            help="A proposed change: quotas, weights, prices, programs as for `suanli apply`; also `profile`, "
            "`moves` and `cluster` (more nodes). Again for more: each is run beside the policy as it is.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Also under this profile. Again for more.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn at random.")] = 0,
    first: Annotated[
        int | None, typer.Option(min=1, help="Only so many jobs from the beginning.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html with Gantt chart and curves.", show_default=False),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option(
            "--alone", help="Also each firm alone on its nominal quota: is anybody worse off together?"
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a report that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rehearse: the same jobs under the policy as it is and under proposed ones, side by side.

    The planner is the one that runs; only the clock is virtual. Reports waits, completion times, use of the
    devices, fairness, stops, lost work, domestic share and cost, and says which firms win and which lose.
    """
    from rich.console import Console

    from scheduler.domain.errors import DomainError
    from scheduler.simulator.cluster import NotPossible
    from scheduler.simulator.command import Request
    from scheduler.simulator.command import simulate as run_simulation
    from scheduler.simulator.traces.tables import BadTrace
    from suanli.cli.errors import CliError
    from suanli.cli.output import colours, refuse_existing

    proposed = tuple(change or ()), tuple(profile or ())
    request = Request(jobs, cluster, cluster_name, *proposed, seed, first, output, as_json, alone)
    out, err = (Console(color_system=colours(), stderr=stderr) for stderr in (False, True))
    try:
        refuse_existing(*request.files, force=force)
        run_simulation(request, out, err)
    except CliError as error:
        raise typer.Exit(fail(str(error), error.exit_code)) from error
    except DomainError as error:
        raise _refused(error) from error
    except BadTrace as error:
        raise typer.Exit(_fail_all(error.sentences)) from error
    except NotPossible as error:
        raise typer.Exit(fail(sentence_of(error))) from error


@admin.command("what-if")
def what_if(
    data: Data = None,
    change: Annotated[
        list[Path] | None,
        typer.Option(
            help="A proposed change, as for `suanli simulate`. Again for more: each stands beside the present.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Also under this profile. Again for more.", show_default=False)
    ] = None,
    most: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many of the jobs that change most are named.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """What would be if: plan the present queue as it is and under proposed changes, and change nothing.

    Says which waiting jobs would start now, which running ones would stop for them, when the others would be told to
    start, and which firms win and which lose. It reads the database once, in a process of its own.
    """
    from scheduler.domain.errors import DomainError
    from scheduler.simulator.situations import notes_of, waits_of
    from scheduler.simulator.what_if import Question, answer_of, ask, document, summary_of, tables_of
    from scheduler.storage import roles
    from scheduler.storage.engine import Database, DatabaseAway
    from scheduler.wiring import planner_config, role_url
    from suanli.cli.output import print_table

    settings = settings_of(data=data)
    question = Question(tuple(change or ()), tuple(profile or ()), most)
    wait_for_up(settings)

    async def read() -> "Asked":
        database = Database(role_url(settings, roles.API), "what-if", pool_size=1)
        try:
            return await ask(database, question, planner_config(settings))
        finally:
            await database.dispose()

    try:
        asked = asyncio.run(read())
    except DomainError as error:
        raise _refused(error) from error
    except SettingsError as error:
        raise typer.Exit(fail(sentence_of(error), MISUSED)) from error
    except DatabaseAway as error:
        raise typer.Exit(fail(sentence_of(error))) from error
    gc.disable()  # what was read stays until the end, and there is much of it
    os.nice(10)  # nothing of the database is held any more: the processes that serve go first
    for line in waits_of(asked.situations):
        note(line)
    answer = answer_of(asked, planner_config(settings))
    if as_json:
        print_json(document(answer, question))
        return
    say(summary_of(answer))
    for line in notes_of(answer.situations):
        say(line)
    for table in tables_of(answer, most):
        sys.stdout.write(f"\n{table.title}\n")
        print_table(table.header, table.rows, right=table.right)


_MOST_TOLD = 20  # wrong fields


def _refused(error: "DomainError") -> typer.Exit:
    """Each thing that is wrong on a line of its own."""
    from scheduler.domain.errors import Invalid
    from suanli.cli.refusals import sentence
    from suanli.client.errors import FieldError

    if not isinstance(error, Invalid):
        return typer.Exit(fail(sentence_of(error), MISUSED))
    wrong = [sentence(FieldError(p.field, p.got, p.want)) for p in error.problems[:_MOST_TOLD]]
    more = error.count - len(wrong)
    return typer.Exit(_fail_all([*wrong, *([f"more wrong fields: {more}"] if more else [])]))


def _fail_all(sentences: "Sequence[str]") -> int:
    """Each by itself: together they may be too long to be recognised as sentences of ours."""
    from suanli.sentences.words import said

    return fail("\n        ".join(map(said, sentences)), MISUSED)


def _check_window(window_ms: int) -> None:
    if window_ms < 1 or 300_000 % window_ms:
        raise typer.Exit(
            fail(f"--window-ms must divide 300000 (5 minutes in milliseconds); {window_ms} does not", MISUSED)
        )


def _witnesses(urls: list[str], key_files: list[str]) -> tuple[Witness, ...] | None:
    """Witnesses from the command line; None where none is named there (the environment may name some)."""
    keys = dict(_pair(text, "--witness-key") for text in key_files)
    named = dict(_pair(text, "--witness") for text in urls)
    if keys.keys() != named.keys():
        raise typer.Exit(
            fail("each --witness NAME=URL needs a --witness-key NAME=FILE, and the other way round", MISUSED)
        )
    try:
        made = tuple(
            Witness(name=name, url=url, key=Path(keys[name]).read_text(encoding="utf-8").strip())
            for name, url in named.items()
        )
    except (OSError, ValueError) as error:
        raise typer.Exit(fail(f"--witness: {sentence_of(error)}", MISUSED)) from error
    return made or None


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise typer.Exit(fail(f"{option} wants NAME=VALUE, not {text!r}", MISUSED))
    return name, value


@app.command()
def check(data: Data = None) -> None:
    """Check the invariants that the database and the published log can show; status 1 where one is broken."""
    from scheduler.check import check_installation

    settings = settings_of(data=data)
    broken = done(settings, check_installation(settings, say), patient=False)
    raise typer.Exit(FAILED if broken else 0)
