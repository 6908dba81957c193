"""`suanli witness`: make a witness, tell it which logs to watch, write the policy, serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suanli.cli.algorithms import load_algorithms
from suanli.cli.errors import CliError, reason_of
from suanli.cli.output import note, print_json, say
from suanli.evidence.errors import EvidenceError
from suanli.witness.folder import ED25519, WitnessFolder
from suanli.witness.server import make_witness

app = typer.Typer(
    help="Run a witness: it cosigns log checkpoints of a ledger, and never two histories of one log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
FolderOption = Annotated[
    Path, typer.Option("--folder", help="Folder of the witness: key, known logs, newest heads.")
]


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _fail(error: Exception) -> typer.Exit:
    note(f"Refused: {reason_of(error)}")
    return typer.Exit(2)


def _print(made: dict[str, Any], result: str, as_json: bool) -> None:
    """One line with the result, or everything as JSON."""
    print_json(made) if as_json else typer.echo(made[result])


@app.command("init")
def init(
    folder: FolderOption,
    name: Annotated[str, typer.Option(help="Name of the witness in notes, such as audit.example/w1.")],
    log: Annotated[list[str] | None, typer.Option(help="Verifier key (vkey) of a log to watch.")] = None,
    as_json: AsJson = False,
    algorithm: Annotated[
        str, typer.Option(help="ed25519, or ml-dsa-44, which quantum computers do not break.")
    ] = ED25519,
) -> None:
    """Make a witness with a new key; print its verifier key."""
    witness = WitnessFolder(folder)
    try:
        key = witness.create(name, os.urandom(32), algorithm)
        for vkey in log or []:
            witness.add_log(vkey)
    except (EvidenceError, OSError) as error:
        raise _fail(error) from error
    _print({"name": name, "vkey": str(key), "folder": str(folder)}, "vkey", as_json)


@app.command("policy")
def policy(
    folder: FolderOption,
    log: Annotated[list[str] | None, typer.Option(help="Verifier key (vkey) of a log to add first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the policy file that names the known logs, this witness and its quorum; print its path."""
    witness = WitnessFolder(folder)
    try:
        load_algorithms()
        for vkey in log or []:
            witness.add_log(vkey)
        path = witness.write_policy()
    except (CliError, EvidenceError, OSError) as error:
        raise _fail(error) from error
    _print({"policy": str(path), "logs": [str(key) for key in witness.logs().values()]}, "policy", as_json)


@app.command("serve")
def serve(
    folder: FolderOption,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8474,
    as_json: AsJson = False,
) -> None:
    """Serve until interrupted."""
    try:
        load_algorithms()
        server = make_witness(folder, host, port, lambda line: typer.echo(line, err=True))
    except (CliError, EvidenceError, OSError) as error:
        raise _fail(error) from error
    with server:
        if as_json:
            print_json({"name": server.service.name, "url": server.url})
            sys.stdout.flush()
        else:
            say(f"witness {server.service.name} on {server.url}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("stopped")
