"""Inspection over the network: seed, draw, fetch, check, in one go."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suanli.cli.algorithms import load_algorithms
from suanli.cli.errors import MISUSED, CliError
from suanli.cli.moments import billing_moment
from suanli.cli.output import print_json, say, write_file
from suanli.cli.refusals import of_period
from suanli.cli.session import open_client
from suanli.cli.verify import checkpoint_file
from suanli.evidence.bundle_io import open_bundle
from suanli.evidence.errors import EvidenceError
from suanli.evidence.log_checkpoint import LogCheckpoint, open_log_checkpoint, parse_log_checkpoint
from suanli.evidence.policy import Policy, cosigners, parse_policy
from suanli.evidence.sampling import draw_entries, encode_request, sample_seed
from suanli.evidence.signed_note import parse_note
from suanli.evidence.steps.packet import EntriesWanted, Inspected, inspect_packet
from suanli.evidence.strict_json import printable

if TYPE_CHECKING:
    from suanli.client.client import Client

SEED_PATIENCE_S = 60.0
_ASK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed. Without `after` the newest log checkpoint gives the seed."""

    policy: Path
    after: Path | None
    since: Path | None
    entries: int
    to: str | None
    samples: Path | None
    output: Path
    force: bool  # replaces files that are there


def beside(packet: Path) -> tuple[Path, Path, Path]:
    """What is written beside a packet: its seed, the request for raw samples, and these."""
    folder, name = packet.parent, packet.stem  # of a folder, too, for `refuse_existing` to say so
    return (folder / f"{name}.checkpoint", folder / f"{name}.request.json", folder / f"{name}.samples.zip")


def inspect_server(wanted: Wanted, profile: str | None, *, as_json: bool) -> int:
    """Draw, fetch and check; says what was found and returns the exit code.

    Raises ClientError, CliError, and EvidenceError or OSError for files that cannot be read.
    """
    load_algorithms()
    policy = parse_policy(wanted.policy.read_bytes())
    end = None if wanted.to is None else billing_moment(wanted.to, "--to")
    with open_client(profile) as client, of_period(as_json=as_json):
        if wanted.after is None:
            note = _seed(client, policy)
            head = _trusted(policy, note)
        else:
            note = checkpoint_file(wanted.after, "--sample-after")
            head = _trusted(policy, note, "--sample-after")
        first = 0
        if wanted.since is not None:
            first = _trusted(policy, checkpoint_file(wanted.since, "--since"), "--since").size
        if first >= head.size:
            raise CliError(
                f"--since has {first} entries and the seed {head.size}: nothing lies between", MISUSED
            )
        seed = sample_seed(head)
        indexes = draw_entries(seed, first, head.size, wanted.entries)
        for_auditor = client.whoami()["firm"] is None
        client.proof_packet(wanted.output, note, indexes, to=end)
        kept, request_file, samples_file = beside(wanted.output)
        write_file(kept, note, force=wanted.force)
        entries = EntriesWanted(note, frozenset(indexes), for_auditor)
        found = _inspect(wanted.output, policy, entries, wanted.samples)
        raw = wanted.samples
        if found.segments and raw is None and for_auditor:
            request = encode_request(seed, list(found.segments), [])
            write_file(request_file, request, force=wanted.force)
            raw = samples_file
            client.sample_packet(raw, request)
            found = _inspect(wanted.output, policy, entries, raw)
    if as_json:
        print_json(_as_json(found, head, seed, indexes))
    else:
        _say(found, head, len(indexes), (wanted.output, kept, raw))
    return 0 if found.good else 1


def _inspect(packet: Path, policy: Policy, entries: EntriesWanted, samples: Path | None) -> Inspected:
    with ExitStack() as stack:
        files = stack.enter_context(open_bundle(packet))
        raw = None if samples is None else stack.enter_context(open_bundle(samples))
        return inspect_packet(files, policy, entries, raw)


def _seed(client: Client, policy: Policy) -> bytes:
    """The newest log checkpoint, as soon as the policy's quorum has cosigned it."""
    end_s = time.monotonic() + SEED_PATIENCE_S
    while True:
        note = client.log_checkpoint()
        times, _ = cosigners(policy, parse_note(note))
        if policy.quorum_met(times) or time.monotonic() > end_s:
            return note
        time.sleep(_ASK_AGAIN_S)


def _trusted(policy: Policy, note: bytes, option: str | None = None) -> LogCheckpoint:
    """The tree head of a note for which the policy vouches, which an `option` named or the server sent. Raises
    CliError.
    """
    try:
        return _vouched(policy, note)
    except EvidenceError as error:
        if option is not None:
            raise CliError(f"{option}: the policy does not vouch for this log: {error}", MISUSED) from None
        raise CliError(f"the policy does not vouch for this log: {error}") from None


def _vouched(policy: Policy, note: bytes) -> LogCheckpoint:
    origin = parse_log_checkpoint(parse_note(note).text).origin
    key = policy.log_key(origin)
    if key is None:
        raise EvidenceError("log checkpoint", origin, "a log of the policy")
    head, opened = open_log_checkpoint(note, key)
    times, _ = cosigners(policy, opened)
    if not policy.quorum_met(times):
        seen = ", ".join(sorted(times)) or "no witness of the policy"
        raise EvidenceError("log checkpoint", seen, f"the policy's quorum, {policy.quorum}")
    return head


def _as_json(found: Inspected, head: LogCheckpoint, seed: bytes, indexes: list[int]) -> dict[str, object]:
    return {
        "schema": "suanli.inspection.v1",
        "verified": found.good,
        "log_origin": head.origin,
        "log_size": head.size,
        "seed": seed.hex(),
        "indexes": indexes,
        "proved": found.proved,
        "withheld": found.withheld,
        "windows": found.windows,
        "segments_with_raw_samples": len(found.segments),
        "findings": [finding.as_json() for finding in found.findings],
        "not_proved": [str(item) for item in found.not_proved],
    }


def _say(found: Inspected, head: LogCheckpoint, drawn: int, files: tuple[Path, Path, Path | None]) -> None:
    packet, kept, raw = files
    say(
        f"{'GOOD' if found.good else 'NOT GOOD'}: {drawn} entries drawn of {head.size} of {printable(head.origin)}"
    )
    say(
        f"  {found.proved} entries proved, keys among them; {found.windows} windows opened and signed by their nodes"
    )
    if found.withheld:
        say(f"  {found.withheld} proved, and not open to you: they concern others")
    for finding in found.findings:
        place = "" if finding.index is None else f" at index {finding.index}"
        say(f"  {finding.severity} {finding.code}{place}: {finding.entity}")
        say(f"    want {finding.expected}, found {finding.found}")
    say(f"Wrote {packet}; the seed is {kept}: --sample-after {kept} draws the same again")
    if raw is not None and found.segments:
        say(f"The nodes' raw samples of {len(found.segments)} segments were checked: {raw}")
    say("Not proved:")
    for item in found.not_proved:
        say(f"  - {item}")
