"""C2SP tlog-policy: whom an auditor trusts. Logs, witnesses, groups of them, and the quorum.

Line based, whitespace is space and tab only; every name is defined on a line before it is used, and a name is
a member of at most one group, so that each witness counts in one way. Octets above 0x7F are opaque.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from suanli.evidence.cosignature import cosignature_time_s
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import (
    COSIGNATURE_KINDS,
    NOTE_ED25519,
    VerifierKey,
    parse_verifier_key,
)
from suanli.evidence.signed_note import SignedNote

POLICY_LIMIT_BYTES = 1 << 20
NAMES_LIMIT = 1024
NO_QUORUM = "none"
_BLANK = re.compile("[ \t]+")


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that is accepted; the name of its key is its origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness and the name it has within this file."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """At least `threshold` of `members` (witnesses or earlier groups) must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Parsed policy. `quorum` names a witness or group, or is "none"."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str
    sha256: str = field(default="", compare=False)
    """Of the file that it was read from, by which a verdict names it."""

    def log_key(self, origin: str) -> VerifierKey | None:
        """The key of the log of this origin, where the policy accepts it."""
        return next((log.key for log in self.logs if log.key.name == origin), None)

    def quorum_met(self, cosigned: Iterable[str]) -> bool:
        """Whether the witnesses of these names are enough."""
        satisfied = set(cosigned)
        for group in self.groups:
            if sum(member in satisfied for member in group.members) >= group.threshold:
                satisfied.add(group.name)
        return self.quorum == NO_QUORUM or self.quorum in satisfied


def cosigners(policy: Policy, note: SignedNote) -> tuple[dict[str, int], list[EvidenceError]]:
    """Names of the policy's witnesses that cosigned `note`, with POSIX seconds; and lines that are false."""
    times: dict[str, int] = {}
    false_lines: list[EvidenceError] = []
    for witness in policy.witnesses:
        try:
            time_s = cosignature_time_s(note, witness.key)
        except EvidenceError as error:
            false_lines.append(error)
            continue
        if time_s is not None:
            times[witness.name] = time_s
    return times, false_lines


def format_policy(policy: Policy) -> str:
    """The policy as a file. Raises EvidenceError when it would not be read back as the same."""
    lines = [_words("log", str(log.key), log.url) for log in policy.logs]
    lines += [_words("witness", w.name, str(w.key), w.url) for w in policy.witnesses]
    lines += [_words("group", g.name, str(g.threshold), *g.members) for g in policy.groups]
    lines.append(f"quorum {policy.quorum}")
    text = "".join(line + "\n" for line in lines)
    if parse_policy(text.encode("utf-8", "surrogateescape")) != policy:
        raise EvidenceError("policy", text, "names and URLs without blanks")
    return text


def _words(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None)


def parse_policy(data: bytes) -> Policy:
    """The policy in `data`. Raises EvidenceError naming the line."""
    if len(data) > POLICY_LIMIT_BYTES:
        raise EvidenceError("policy", f"{len(data)} bytes", f"at most {POLICY_LIMIT_BYTES} bytes")
    if any((byte < 0x20 and byte not in b"\t\n") or byte == 0x7F for byte in data):
        raise EvidenceError("policy", "a control character", "no control character but tab and newline")
    if data and not data.endswith(b"\n"):
        raise EvidenceError("policy", "no newline at the end", "each line ended by a newline")
    reader = _Reader()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        stripped = line.strip(" \t")
        if stripped and not stripped.startswith("#"):
            reader.line(f"policy line {number}", _BLANK.split(stripped))
    return replace(reader.finish(), sha256=hashlib.sha256(data).hexdigest())


def parse_firm_keys(data: bytes) -> tuple[VerifierKey, ...]:
    """The keys in a reader's own list of firms' keys: one vkey a line, named by the firm's id; `#` begins a remark.

    Raises EvidenceError naming the line.
    """
    if len(data) > POLICY_LIMIT_BYTES:
        raise EvidenceError("firm_keys", f"{len(data)} bytes", f"at most {POLICY_LIMIT_BYTES} bytes")
    keys: list[VerifierKey] = []
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            keys.append(_key(f"firm keys line {number}", text, frozenset({NOTE_ED25519}), keys))
    return tuple(keys)


class _Reader:
    """Takes a policy line by line, so that names can only refer back."""

    def __init__(self) -> None:
        self._logs: list[PolicyLog] = []
        self._witnesses: list[PolicyWitness] = []
        self._groups: list[PolicyGroup] = []
        self._quorum: str | None = None
        self._defined: set[str] = set()
        self._members: set[str] = set()

    def line(self, where: str, words: list[str]) -> None:
        """Reads one line. Raises EvidenceError."""
        if len(self._logs) + len(self._defined) > NAMES_LIMIT:
            raise EvidenceError(where, "more lines", f"at most {NAMES_LIMIT} logs, witnesses and groups")
        match words:
            case ["log", key] | ["log", key, _]:
                url = words[2] if len(words) == 3 else None
                self._logs.append(
                    PolicyLog(
                        _key(where, key, frozenset({NOTE_ED25519}), [log.key for log in self._logs]), url
                    )
                )
            case ["witness", name, key] | ["witness", name, key, _]:
                url = words[3] if len(words) == 4 else None
                known = [witness.key for witness in self._witnesses]
                witness_key = _key(where, key, COSIGNATURE_KINDS, known)
                self._define(where, name)
                self._witnesses.append(PolicyWitness(name, witness_key, url))
            case ["group", name, threshold, *members] if members:
                self._group(where, name, threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise EvidenceError(where, "a second quorum line", "exactly one")
                if name != NO_QUORUM and name not in self._defined:
                    raise EvidenceError(where, name, "a name defined on an earlier line, or none")
                self._quorum = name
            case _:
                raise EvidenceError(where, " ".join(words), "a log, witness, group or quorum line")

    def _define(self, where: str, name: str) -> None:
        if name == NO_QUORUM or name in self._defined:
            raise EvidenceError(where, name, "a name of its own")
        self._defined.add(name)

    def _group(self, where: str, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if member not in self._defined or member in self._members:
                raise EvidenceError(where, member, "names defined earlier, each a member only once")
            self._members.add(member)
        if threshold in ("any", "all"):
            needed = 1 if threshold == "any" else len(members)
        elif re.fullmatch("[1-9][0-9]{0,5}", threshold):
            needed = int(threshold)
        else:
            raise EvidenceError(where, threshold, "any, all or a decimal number")
        if needed > len(members):
            raise EvidenceError(where, threshold, f"at most {len(members)}, the number of members")
        self._define(where, name)
        self._groups.append(PolicyGroup(name, needed, tuple(members)))

    def finish(self) -> Policy:
        """The policy. Raises EvidenceError without a quorum line."""
        if self._quorum is None:
            raise EvidenceError("policy", "no quorum line", "exactly one quorum line")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)


def _key(where: str, text: str, kinds: frozenset[int], known: list[VerifierKey]) -> VerifierKey:
    try:
        key = parse_verifier_key(text)
    except EvidenceError as error:
        raise EvidenceError(f"{where}: {error.field}", error.got, error.want) from None
    if key.kind not in kinds:
        want = " or ".join(f"{kind:#04x}" for kind in sorted(kinds))
        raise EvidenceError(where, f"a key of type {key.kind:#04x}", f"a key of type {want}")
    if any(key.public_key == other.public_key for other in known):
        raise EvidenceError(where, key.name, "a public key that no earlier line has")
    return key
