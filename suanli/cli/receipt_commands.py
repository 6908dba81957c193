"""`suanli receipt`: a firm signs what it agrees to, or contests it, with a key that only the firm holds."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.session import AsJson, JobName, ProfileName, ask_hidden, find_job, open_client, short_id

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.receipts import Allocation, Receipt
    from suanli.evidence.keys import SigningKey

app = typer.Typer(
    help="Receipts: agree with the use of your jobs, or contest it. They become entries of the evidence log.",
    no_args_is_help=True,
)
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="Your firm's key; absent: firm-key.pem beside your profiles.")
]
Allocations = Annotated[
    list[str] | None, typer.Option("--allocation", help="Only this allocation (or the end of its id).")
]
Workload = Annotated[
    str | None,
    typer.Option(help="What it was: pretraining, finetuning, inference, evaluation or other."),
]
_READ = 1 << 20


def _key_path(given: Path | None) -> Path:
    from suanli.client.profiles import profiles_path

    return given or profiles_path(os.environ).with_name("firm-key.pem")


def _load_key(given: Path | None) -> SigningKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from suanli.cli.errors import MISUSED, CliError
    from suanli.evidence.keys import SigningKey

    path = _key_path(given)
    passphrase = None
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise CliError(f"{path} is your firm's key and others can read it: run chmod 600 {path}", MISUSED)
        pem = path.read_bytes()
        if b"ENCRYPTED PRIVATE KEY" in pem:
            passphrase = _passphrase()
        key = serialization.load_pem_private_key(pem, passphrase)
    except FileNotFoundError:
        raise CliError(
            f"there is no {path}: make and register a key with 'suanli receipt key'", MISUSED
        ) from None
    except (OSError, ValueError, TypeError) as error:
        if passphrase is not None:
            raise CliError(f"{path} does not open with this passphrase", MISUSED) from None
        raise CliError(
            f"{path} cannot be read as a private key in PEM: {type(error).__name__}", MISUSED
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CliError(f"{path} holds no Ed25519 key", MISUSED)
    return SigningKey(key.private_bytes_raw())


def _passphrase(*, new: bool = False) -> bytes:
    """Asked at the terminal, a new one twice; without a terminal a line of standard input. Never an argument."""
    from suanli.cli.errors import MISUSED, CliError

    at_terminal = sys.stdin.isatty()
    found = ask_hidden("Passphrase", new=new) if at_terminal else sys.stdin.readline().rstrip("\r\n")
    if not found:
        raise CliError("your firm's key needs its passphrase: type it, or give it on standard input", MISUSED)
    return found.encode()


def _write_key(path: Path, signer: SigningKey, passphrase: bytes | None) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from suanli.witness.folder import write_durably

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.from_private_bytes(signer.seed()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption(),
    )
    write_durably(path, pem)


@app.command("key")
def key(
    file: KeyFile = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase and encrypt the key's file with it.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Make your firm's key if there is none, register it, and print the line that an auditor wants of you."""
    from suanli.cli.errors import CliError
    from suanli.cli.output import note, print_json, say
    from suanli.client.errors import Refused
    from suanli.evidence.keys import SEED_BYTES, SigningKey
    from suanli.evidence.receipts import proof_message

    path = _key_path(file)
    with open_client(profile) as client:
        firm_id = client.receipts.firm()
        if firm_id is None:
            raise CliError("you belong to no firm: a firm's own administrator registers its key")
        made = not path.exists()
        signer = SigningKey(os.urandom(SEED_BYTES)) if made else _load_key(file)
        if made or passphrase:
            _write_key(path, signer, _passphrase(new=True) if passphrase else None)
        proof = signer.sign(proof_message(firm_id, signer.public_key))
        try:
            registered = client.receipts.register_key(signer.public_key, proof)
        except Refused:
            if made:  # nobody's: the next to come makes the firm's key, with a passphrase of its own
                path.unlink()
            raise
    if as_json:
        print_json({**registered, "file": str(path)})
        return
    note(f"The key is in {path}. Keep a copy: whoever has it signs for your firm.")
    note("Registered. Give this line to your auditor yourself (suanli verify --firm-keys):")
    say(registered["vkey"])


@app.command("keys")
def keys(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List the keys that sign for your firm; auditors and operators: for every firm."""
    from suanli.cli.moments import local
    from suanli.cli.output import print_json, print_table

    with open_client(profile) as client:
        found = client.receipts.keys()
    if as_json:
        print_json(found)
        return
    print_table(
        ["KEY", "FIRM", "CREATED", "REVOKED"],
        [[k["key_id"], k["firm"], local(k["created_at"]), local(k["revoked_at"])] for k in found],
        empty="No keys: suanli receipt key",
    )


@app.command("revoke")
def revoke(key_id: str, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """End a key of your firm at once. Receipts that it signed before stand."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        client.receipts.revoke_key(key_id)
    print_json({"revoked": key_id}) if as_json else say(f"Key {key_id} is revoked.")


@app.command("sign")
def sign(  # noqa: PLR0913, PLR0917 - each is an option that somebody types
    job: JobName,
    allocation: Allocations = None,
    workload: Workload = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Training steps done.")] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Tokens trained on.")] = None,
    image_digest: Annotated[
        str | None, typer.Option(help="Digest of the image that ran; by default what the nodes found.")
    ] = None,
    model_checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A model checkpoint that came of it: its SHA-256 is signed.")
    ] = None,
    key_file: KeyFile = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Agree with the use of a job: one receipt for each of its allocations that has ended and has none yet."""
    said: dict[str, object] = {
        "image_digest": image_digest,
        "workload": workload,
        "steps": steps,
        "tokens": tokens,
        "model_checkpoints": tuple(_sha256(path) for path in model_checkpoint or ()),
    }
    _check("agreed", "", said)
    with open_client(profile) as client:
        found = _chosen(client, job, allocation)
        fresh = [a for a in found if allocation or a["receipt"] is None]
        _hand_in(client, fresh, "agreed", "", said, key_file, as_json=as_json, job=job)


@app.command("contest")
def contest(
    job: JobName,
    reason: Annotated[str, typer.Option(help="What is wrong with it, for whoever has to settle it.")],
    allocation: Allocations = None,
    key_file: KeyFile = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Contest the use of a job, or of some of its allocations. A later 'sign --allocation' takes its place."""
    said: dict[str, object] = {
        "image_digest": None,
        "workload": None,
        "steps": None,
        "tokens": None,
        "model_checkpoints": (),
    }
    _check("contested", reason, said)
    with open_client(profile) as client:
        found = _chosen(client, job, allocation)
        _hand_in(client, found, "contested", reason, said, key_file, as_json=as_json, job=job)


@app.command("list")
def list_(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Only of this job.")] = None,
    stance: Annotated[str | None, typer.Option(help="Only agreed, or only contested ones.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """List receipts, the newest first, with their places in the evidence log."""
    from suanli.cli.output import print_json

    with open_client(profile) as client:
        job_id = None if job is None else find_job(client, job)["job_id"]
        found = list(client.receipts.receipts(job_id=job_id, stance=stance))
    print_json(found) if as_json else _print(found)


def _chosen(client: Client, job: str, wanted: list[str] | None) -> list[Allocation]:
    """Allocations of a job that have ended, of those asked for."""
    from suanli.cli.errors import CliError

    job_id = find_job(client, job)["job_id"]
    found = [a for a in client.receipts.allocations(job_id) if a["ended_ms"] is not None]
    for end in wanted or ():
        if not any(a["allocation_id"].endswith(end) for a in found):
            raise CliError(f"job {job} has no allocation {end} that has ended")
    if not wanted:
        return found
    return [a for a in found if a["allocation_id"].endswith(tuple(wanted))]


def _check(stance: str, reason: str, said: dict[str, object]) -> None:
    """What was typed is wrong whether or not there is something to sign. Raises CliError."""
    _encoded(("firm", "job", "allocation"), (0, 0), stance, reason, said)


def _encoded(
    of: tuple[str, str, str], held: tuple[int, int], stance: str, reason: str, said: dict[str, object]
) -> bytes:
    """The receipt for an allocation `of` (firm, job, allocation). Raises CliError for what was typed wrongly."""
    from suanli.cli.errors import MISUSED, CliError
    from suanli.evidence.errors import EvidenceError
    from suanli.evidence.receipts import JobReceipt
    from suanli.evidence.records import encode_record

    firm_id, job_id, allocation_id = of
    receipt = JobReceipt(
        firm_id=firm_id,
        job_id=job_id,
        allocation_id=allocation_id,
        stance=stance,
        reason=reason,
        start_ms=held[0],
        end_ms=held[1],
        at_ms=time.time_ns() // 1_000_000,
        **said,  # type: ignore[arg-type]
    )
    try:
        return encode_record(receipt)
    except EvidenceError as error:
        option = "--" + error.field.rpartition(".")[2].replace("_", "-")
        raise CliError(f"{option}: got {error.got}, want {error.want}", MISUSED) from None


def _hand_in(
    client: Client,
    allocations: list[Allocation],
    stance: str,
    reason: str,
    said: dict[str, object],
    key_file: Path | None,
    *,
    as_json: bool,
    job: str,
) -> None:
    from suanli.cli.output import print_json, say
    from suanli.evidence.entries import JOB_RECEIPT, signing_message

    signer = _load_key(key_file)
    image_digest = said["image_digest"]
    job_id = find_job(client, job)["job_id"]
    done: list[Receipt] = []
    # The image that the nodes found, unless the firm says another: what it signs is its own word all the same.
    ran = {a["attempt"]: a["image_digest"] for a in client.attempts(job_id)} if stance == "agreed" else {}
    for a in allocations:
        if ran and not image_digest:
            said["image_digest"] = ran.get(a["attempt"])
        held = (a["granted_ms"], a["ended_ms"] or a["granted_ms"])
        body = _encoded((a["firm_id"], job_id, a["allocation_id"]), held, stance, reason, said)
        signature = signer.sign(signing_message(JOB_RECEIPT, body))
        done.append(client.receipts.hand_in(signer.key_id, body, signature))
    if as_json:
        print_json(done)
    elif not done:
        say("Nothing to sign: no allocation of it has ended without a receipt.")
    else:
        _print(done)


def _print(receipts: list[Receipt]) -> None:
    from suanli.cli.moments import local
    from suanli.cli.output import print_table

    print_table(
        ["RECEIPT", "JOB", "ALLOCATION", "STANCE", "SIGNED", "LOG INDEX", "REASON"],
        [
            [
                r["receipt_id"][:12],
                short_id(r["job_id"]),
                short_id(r["allocation_id"]),
                r["stance"],
                local(r["signed_at"]),
                "waiting" if r["log_index"] is None else r["log_index"],
                r["reason"],
            ]
            for r in receipts
        ],
        right=(5,),
        empty="No receipts.",
    )


def _sha256(path: Path) -> str:
    from suanli.cli.errors import MISUSED, CliError

    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_READ):
                digest.update(part)
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", MISUSED) from None
    return digest.hexdigest()
