"""`suanli proof`: fetch the proof that an entry is in the log, and check one offline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import typer

from suanli.cli.algorithms import load_algorithms
from suanli.cli.errors import CliError, reason_of
from suanli.cli.output import note, print_json, refuse_existing, say, write_file
from suanli.evidence.errors import EvidenceError
from suanli.evidence.policy import parse_policy
from suanli.evidence.proof_file import ProofFile, check_proof, make_proof, parse_proof_file
from suanli.evidence.strict_json import printable
from suanli.evidence.tiles import WIDTH

TIMEOUT_S = 30.0
FAILED, UNREADABLE = 1, 2
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

app = typer.Typer(
    help="Proofs that an entry is in the evidence log (C2SP tlog-proof files), made and checked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _end(sentence: str, code: int) -> typer.Exit:
    note(sentence)
    return typer.Exit(code)


@app.command("make")
def make(
    index: Annotated[int, typer.Argument(min=0, help="Index of the entry in the log.")],
    log: Annotated[
        str, typer.Option(help="The public log: its address, such as https://host/log, or a folder.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; absent: INDEX.tlog-proof.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch what is needed of the log and write the proof file."""
    path = output or Path(f"{index}.tlog-proof")
    refuse_existing(path, force=force)
    try:
        proof = _made(index, log)
    except (EvidenceError, OSError) as error:
        raise _end(f"No proof: {reason_of(error)}", UNREADABLE) from error
    except httpx.HTTPError as error:
        raise _end(f"No proof: {reason_of(error)}", FAILED) from error
    try:
        write_file(path, proof.encode(), force=force)
    except OSError as error:
        raise _end(f"{path} cannot be written: {error.strerror}", UNREADABLE) from error
    if as_json:
        print_json({"file": str(path), "index": index})
    else:
        typer.echo(str(path))


def _made(index: int, log: str) -> ProofFile:
    if not log.startswith(("http://", "https://")):
        folder = Path(log)
        return make_proof(
            index, (folder / "checkpoint").read_bytes(), _with_full(lambda p: (folder / p).read_bytes())
        )
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as http:

        def read(path: str) -> bytes:
            answer = http.get(f"{log.rstrip('/')}/{path}")
            if answer.status_code == 404:
                raise FileNotFoundError(path)
            return answer.raise_for_status().content

        return make_proof(index, read("checkpoint"), _with_full(read))


def _with_full(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """A partial tile may have given way to the full one: then its beginning is meant."""

    def either(path: str) -> bytes:
        try:
            return read(path)
        except FileNotFoundError:
            full, marker, width = path.partition(".p/")
            if not marker:
                raise
            return _beginning(read(full), full, int(width))

    return either


def _beginning(data: bytes, path: str, width: int) -> bytes:
    if not path.startswith("tile/entries/"):
        return data[: width * len(data) // WIDTH]
    end = 0
    for _ in range(width):
        end += 2 + int.from_bytes(data[end : end + 2], "big")
    return data[:end]


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The proof file.")],
    policy: Annotated[Path, typer.Option(help="Your own policy file (C2SP tlog-policy): whom you trust.")],
    entry: Annotated[
        Path | None, typer.Option(help="The entry's bytes; absent: those that the file brings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof offline. Exit code 0: proved under your policy; 1: not; 2: a file cannot be read."""
    try:
        load_algorithms()
        proof, trusted = parse_proof_file(file.read_bytes()), parse_policy(policy.read_bytes())
        given = None if entry is None else entry.read_bytes()
    except (CliError, EvidenceError, OSError) as error:
        raise _end(f"Not read: {reason_of(error)}", UNREADABLE) from error
    try:
        proved = check_proof(proof, trusted, given)
    except EvidenceError as error:
        raise _end(f"NOT PROVED: {error}", FAILED) from error
    if as_json:
        print_json(
            {
                "proved": True,
                "index": proof.index,
                "origin": proved.head.origin,
                "log_size": proved.head.size,
                "witnessed_s": proved.witnessed_s,
                "entry": proved.entry.decode("utf-8", "replace"),
            }
        )
        return
    say(f"PROVED: entry {proof.index} of {printable(proved.head.origin)}, {proved.head.size} entries")
    for name, time_s in sorted(proved.witnessed_s.items()):
        say(f"  seen by {printable(name)} at {datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}")
    typer.echo(f"  {printable(proved.entry.decode('utf-8', 'replace'))}")
