"""The command `scheduler`: the processes of the control plane, and what an administrator does beside them.

Every import of a room is late: each process loads its own and nothing of the others.
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from scheduler.process import FAILED, announcement_path, fail, run, sentence_of
from scheduler.settings import Settings, SettingsError, Witness, load

app = typer.Typer(
    name="scheduler",
    help="Suanli's control plane. Settings come from SUANLI_* variables; see each command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
admin = typer.Typer(help="At the machine itself: the first operator, join tokens.", no_args_is_help=True)
app.add_typer(admin, name="admin", rich_help_panel=None)

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (SUANLI_DATA).", show_default=False)]
UP_START_S = 30.0
UP_APPEARS_S = 3.0
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
_T = TypeVar("_T")


def main() -> None:
    """Run the command line; `suanli up|demo|admin` says under which name it was called."""
    app(prog_name=os.environ.pop("SUANLI_PROGRAM", None))


def _settings(**given: Any) -> Settings:
    try:
        return load(**given)
    except SettingsError as error:
        raise typer.Exit(fail(str(error))) from error


def _serve(process: str, data: Path | None) -> None:
    from scheduler.wiring import PROCESSES, role_url, server_of

    settings = _settings(data=data)
    try:
        url = role_url(settings, PROCESSES[process])
    except SettingsError as error:
        raise typer.Exit(fail(str(error))) from error

    async def serve(stop: asyncio.Event, announce: Any) -> None:
        await server_of(process, settings, url)(stop, announce)

    raise typer.Exit(run(process, settings, serve, url))


@app.command()
def api(data: Data = None) -> None:
    """Serve REST, event streams and the console."""
    _serve("api", data)


@app.command()
def gateway(data: Data = None) -> None:
    """Serve agents over gRPC."""
    _serve("gateway", data)


@app.command()
def controller(data: Data = None) -> None:
    """Plan and place; one of several leads."""
    _serve("controller", data)


@app.command()
def ledger(data: Data = None) -> None:
    """Keep the evidence log and rate usage; one of several leads."""
    _serve("ledger", data)


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

    settings = _settings(data=data)
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
def up(
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
        int | None, typer.Option(help="First of four ports for Prometheus, on loopback.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine, with a PostgreSQL of its own unless SUANLI_DATABASE_URL is set."""
    from scheduler.up.run import Installation, UpFailed

    ports = {}
    if port is not None:
        ports = {"api_port": port, "fleet_port": port and port + 1, "enrolment_port": port and port + 2}
    names = list(host or ())
    settings = _settings(
        data=data,
        host=names[0] if names else None,
        window_ms=window_ms,
        witnesses=_witnesses(witness or [], witness_key or []),
        metrics_port=metrics_port,
        **ports,
    )
    try:
        raise typer.Exit(Installation(settings, names[1:], _note if as_json else _say, as_json=as_json).run())
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

    if window_ms < 1 or 300_000 % window_ms:
        raise typer.Exit(
            fail(f"--window-ms must divide 300000 (5 minutes in milliseconds); {window_ms} does not")
        )
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
            help="A proposed change: quotas, weights, prices, programs as for `suanli apply`; also `profile` and "
            "`cluster` (more nodes). Again for more: each is run beside the policy as it is.",
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

    request = Request(
        jobs, cluster, cluster_name, tuple(change or ()), tuple(profile or ()), seed, first, output, as_json
    )
    try:
        run_simulation(request, Console(), Console(stderr=True))
    except (BadTrace, DomainError, NotPossible) as error:
        raise typer.Exit(fail(sentence_of(error))) from error


def _say(sentence: str) -> None:
    sys.stdout.write(f"suanli: {sentence}\n")
    sys.stdout.flush()


def _note(sentence: str) -> None:
    sys.stderr.write(f"suanli: {sentence}\n")
    sys.stderr.flush()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _witnesses(urls: list[str], key_files: list[str]) -> tuple[Witness, ...] | None:
    """Witnesses from the command line; None where none is named there (the environment may name some)."""
    keys = dict(_pair(text, "--witness-key") for text in key_files)
    named = dict(_pair(text, "--witness") for text in urls)
    if keys.keys() != named.keys():
        raise typer.Exit(
            fail("each --witness NAME=URL needs a --witness-key NAME=FILE, and the other way round")
        )
    try:
        made = tuple(
            Witness(name=name, url=url, key=Path(keys[name]).read_text(encoding="utf-8").strip())
            for name, url in named.items()
        )
    except (OSError, ValueError) as error:
        raise typer.Exit(fail(f"--witness: {sentence_of(error)}")) from error
    return made or None


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise typer.Exit(fail(f"{option} wants NAME=VALUE, not {text!r}"))
    return name, value


def _done(settings: Settings, work: Coroutine[Any, Any, _T]) -> _T:
    """Run a short piece of work; its refusals are sentences for the person."""
    from scheduler.admin import AlreadyInitialised
    from scheduler.domain.errors import DomainError
    from scheduler.storage.engine import DatabaseAway

    _wait_for_up(settings)
    try:
        return asyncio.run(work)
    except (AlreadyInitialised, DomainError, DatabaseAway, SettingsError) as error:
        raise typer.Exit(fail(sentence_of(error))) from error


def _wait_for_up(settings: Settings) -> None:
    """Whoever typed `up &` a moment ago need not time the next command; what never serves says so itself."""
    import time

    if settings.database_url is not None:
        return
    announced = announcement_path(settings.run_folder, "up")
    # A folder that is not there yet may be made in a moment, or have been typed wrongly.
    deadline_s = time.monotonic() + (UP_START_S if settings.data.exists() else UP_APPEARS_S)
    while not announced.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)


@admin.command("init")
def admin_init(
    data: Data = None,
    name: Annotated[str, typer.Option(help="Name of the operator.")] = "operator",
    key_file: Annotated[
        Path | None, typer.Option(help="Write the key here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the first operator and print its API key, once."""
    from scheduler.admin import create_first_operator

    settings = _settings(data=data)
    made = _done(settings, create_first_operator(settings, name))
    _hand_over({"name": name, "api_key": made.secret}, "api_key", key_file, as_json)


@admin.command("operator-key")
def admin_operator_key(
    data: Data = None,
    name: Annotated[str, typer.Option(help="Name of the operator.")] = "operator",
    key_file: Annotated[
        Path | None, typer.Option(help="Write the key here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make another key for a principal whose key was lost."""
    from scheduler.admin import create_operator_key

    settings = _settings(data=data)
    made = _done(settings, create_operator_key(settings, name))
    _hand_over({"name": name, "api_key": made.secret}, "api_key", key_file, as_json)


@admin.command("history")
def admin_history(
    output: Annotated[
        Path, typer.Option(help="Where to write it (.json or .json.gz), for `suanli simulate`.")
    ],
    data: Data = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First moment, RFC 3339. None: last month in Asia/Shanghai.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Moment after the last one, RFC 3339.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export a period's jobs, nodes, queues, prices and programs for a rehearsal: sizes and times, no commands."""
    from scheduler.admin import history_period, write_history

    settings = _settings(data=data)
    try:
        from_ms, to_ms = history_period(from_, to)
    except ValueError as error:
        raise typer.Exit(fail(str(error))) from error
    written = _done(settings, write_history(settings, from_ms, to_ms, output))
    if as_json:
        _print_json({"jobs": written, "from_ms": from_ms, "to_ms": to_ms, "output": str(output)})
    else:
        _say(f"wrote {written} jobs to {output}")


@admin.command("join-token")
def admin_join_token(
    pool: Annotated[str, typer.Option(help="Pool that the hosts join.")],
    data: Data = None,
    uses: Annotated[int, typer.Option(help="How many hosts may join with it.")] = 1,
    hours: Annotated[int, typer.Option(help="Hours until it expires.")] = 24,
    token_file: Annotated[
        Path | None, typer.Option(help="Write the token here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a join token for hosts and print it, once."""
    from scheduler.admin import create_join_token

    settings = _settings(data=data)
    token = _done(settings, create_join_token(settings, pool, uses, hours))
    _hand_over({"pool": pool, "uses": uses, "hours": hours, "token": token}, "token", token_file, as_json)


@admin.command("log-vkey")
def admin_log_vkey(data: Data = None, as_json: AsJson = False) -> None:
    """Print the verifier key of the evidence log, for whoever shall check it: witnesses, auditors, firms."""
    from scheduler.ledger.keys import read_log_key
    from scheduler.secret_files import log_origin
    from suanli.evidence.keys import NOTE_ED25519, verifier_key

    settings = _settings(data=data)
    _wait_for_up(settings)
    path = settings.secret("log.key")
    try:
        public_key = read_log_key(path).public_key
        key = verifier_key(log_origin(settings), NOTE_ED25519, public_key)
    except FileNotFoundError as error:
        raise typer.Exit(
            fail(f"{path} is not there: 'suanli up' makes it, or name its data folder with --data")
        ) from error
    except (OSError, ValueError) as error:
        raise typer.Exit(fail(sentence_of(error))) from error
    _print_json({"origin": key.name, "vkey": str(key)}) if as_json else sys.stdout.write(f"{key}\n")


def _hand_over(made: dict[str, Any], secret: str, file: Path | None, as_json: bool) -> None:
    """Print the secret of what was made, once; or write it to `file`, and print no secret at all."""
    from scheduler.secret_files import write_secret

    if file is not None:
        try:
            write_secret(file, (made[secret] + "\n").encode())
        except OSError as error:
            raise typer.Exit(
                fail(f"{sentence_of(error)}; make another with 'suanli admin operator-key'")
            ) from error
        made = {name: value for name, value in made.items() if name != secret} | {f"{secret}_file": str(file)}
    if as_json:
        _print_json(made)
    elif file is None:
        sys.stdout.write(made[secret] + "\n")


@app.command()
def check(data: Data = None) -> None:
    """Check the invariants that the database and the published log can show; status 1 where one is broken."""
    from scheduler.check import check_installation

    settings = _settings(data=data)
    broken = _done(settings, check_installation(settings, _say))
    raise typer.Exit(FAILED if broken else 0)
