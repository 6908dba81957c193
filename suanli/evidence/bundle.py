"""A bundle: everything a verifier needs for a period, as named files. Bytes in, bytes out; no disk here.

MANIFEST.json lists every other file with size and SHA-256. `checkpoint` and `tile/...` are the log exactly as
published; payloads.jsonl opens its entries one line each, in order; statement.json is the operator's claim.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from suanli.evidence import plain
from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import Fields, encode, encode_base64, parse_object
from suanli.evidence.windows import SALT_BYTES, SEGMENT_LIMIT_BYTES, SEGMENTS_PER_WINDOW, SaltedSegment

BUNDLE_SCHEMA = "suanli.bundle.v1"
MANIFEST = "MANIFEST.json"
CHECKPOINT = "checkpoint"
PAYLOADS = "payloads.jsonl"
STATEMENT = "statement.json"
TILES = "tile/"
ENTRY_TILES = "tile/entries/"

MANIFEST_LIMIT_BYTES = 256 << 20
FILES_LIMIT = 1_000_000
LINE_LIMIT_BYTES = 64 << 20
# What the schema can hold at most, as `strict_json` counts: an object and two values for each file or segment.
_VALUES_OF_ONE = 3
_LEAST_FILE_BYTES = len('"a":{"sha256":"","size":0}') + 64
_OTHER_VALUES = 1024  # the rest of a manifest, and the commas and brackets in the name of its log
_LINE_VALUES = _VALUES_OF_ONE * SEGMENTS_PER_WINDOW + 16
PATH_LIMIT = 200
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Scope:
    """Who the bundle is for: the auditor, or one firm, which is not given what concerns others alone."""

    kind: str
    firm_id: str | None = None

    def as_json(self) -> dict[str, object]:
        """The scope as the manifest shows it."""
        return {"kind": self.kind} if self.firm_id is None else {"kind": self.kind, "firm_id": self.firm_id}


AUDITOR = Scope("auditor")


def firm_scope(firm_id: str) -> Scope:
    """The scope of one firm's bundle."""
    return Scope("firm", firm_id)


@dataclass(frozen=True, slots=True)
class BundleHead:
    """Which log, which period [from_ms, to_ms), made when and for whom."""

    log_origin: str
    from_ms: int
    to_ms: int
    made_at_ms: int
    scope: Scope = AUDITOR


@dataclass(frozen=True, slots=True)
class FileClaim:
    """What the manifest says of a file."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Contents and period of a bundle. Unsigned: what it says is proved by the steps that follow, or not."""

    log_origin: str
    from_ms: int
    to_ms: int
    made_at_ms: int
    scope: Scope
    files: Mapping[str, FileClaim]


@dataclass(slots=True)
class PayloadLine:
    """What opens one entry. Salt and payload are None where the reader is not entitled to them.

    `segments` has one item per commitment of a usage window (None: another firm's), and none for other types.
    """

    index: int
    salt: bytes | None
    payload: bytes | None
    segments: tuple[SaltedSegment | None, ...] = ()


def check_path(path: str) -> None:
    """Refuses paths that could leave the bundle's folder or differ between systems. Raises EvidenceError."""
    if len(path) > PATH_LIMIT or not _PATH.fullmatch(path):
        raise EvidenceError("path", path, "plain relative names with slashes")


def encode_manifest(claims: Mapping[str, FileClaim], head: BundleHead) -> bytes:
    """MANIFEST.json over files that were hashed while they were written. Raises EvidenceError."""
    data = encode(
        {
            "schema": BUNDLE_SCHEMA,
            "log_origin": head.log_origin,
            "from_ms": head.from_ms,
            "to_ms": head.to_ms,
            "made_at_ms": head.made_at_ms,
            "scope": head.scope.as_json(),
            "files": {path: {"sha256": claim.sha256, "size": claim.size} for path, claim in claims.items()},
        }
    )
    parse_manifest(data)
    return data


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, read strictly. Raises EvidenceError."""
    files = min(FILES_LIMIT, len(data) // _LEAST_FILE_BYTES)
    fields = parse_object(data, "manifest", MANIFEST_LIMIT_BYTES, _VALUES_OF_ONE * files + _OTHER_VALUES)
    fields.schema(BUNDLE_SCHEMA)
    manifest = Manifest(
        log_origin=fields.text("log_origin", 256),
        from_ms=fields.integer("from_ms"),
        to_ms=fields.integer("to_ms"),
        made_at_ms=fields.integer("made_at_ms"),
        scope=_read_scope(fields.nested("scope")),
        files={
            path: _read_claim(path, claim) for path, claim in fields.mapping("files", FILES_LIMIT).items()
        },
    )
    fields.done()
    if manifest.to_ms <= manifest.from_ms:
        raise EvidenceError("manifest.to_ms", manifest.to_ms, f"more than from_ms {manifest.from_ms}")
    return manifest


def _read_scope(fields: Fields) -> Scope:
    kind = fields.choice("kind", frozenset({"auditor", "firm"}))
    scope = Scope(kind, fields.text("firm_id", 64) if kind == "firm" else None)
    fields.done()
    return scope


def _read_claim(path: str, value: object) -> FileClaim:
    check_path(path)
    if path == MANIFEST:
        raise EvidenceError("manifest.files", path, "every file but the manifest")
    fields = Fields(value, f"manifest.files.{path}")
    claim = FileClaim(fields.hex("sha256", 32), fields.integer("size"))
    fields.done()
    return claim


def encode_payload_line(line: PayloadLine) -> bytes:
    """One line of payloads.jsonl with its newline."""
    return (
        encode(
            {
                "index": line.index,
                "salt": None if line.salt is None else line.salt.hex(),
                "payload": None if line.payload is None else encode_base64(line.payload),
                "segments": [
                    None if item is None else {"salt": item.salt.hex(), "body": encode_base64(item.body)}
                    for item in line.segments
                ],
            }
        )
        + b"\n"
    )


# What stands around numbers, base64 and hex in a line as `encode_payload_line` writes it.
_INDEX, _PAYLOAD, _SALT = b'{"index":', b',"payload":"', b'","salt":"'
_FIRST_BODY, _NEXT_BODY = b'","segments":[{"body":"', b'"},{"body":"'
_NO_SEGMENTS, _END = b'","segments":[]}', b'"}]}'
_SALT_DIGITS = 2 * SALT_BYTES


def _plain_line(data: bytes) -> PayloadLine | None:
    """The line in `data` where it opens everything and is as `encode_payload_line` writes it."""
    if len(data) > LINE_LIMIT_BYTES:
        return None
    head, *parts = data.split(_SALT, SEGMENTS_PER_WINDOW + 1)
    number, _, text = head.partition(_PAYLOAD)
    index, payload = plain.integer(number[len(_INDEX) :]), plain.base64_bytes(text)
    read = [plain.hex_bytes(part[:_SALT_DIGITS], SALT_BYTES) for part in parts]
    salts = [salt for salt in read if salt is not None]
    after = [part[_SALT_DIGITS:] for part in parts]
    if index is None or payload is None or len(salts) != len(parts) or not number.startswith(_INDEX):
        return None
    if not after or after.pop() != (_END if after else _NO_SEGMENTS):
        return None
    segments: list[SaltedSegment] = []
    before = _FIRST_BODY
    for salt, text in zip(salts[1:], after, strict=True):
        body = plain.base64_bytes(text[len(before) :]) if text.startswith(before) else None
        if body is None or len(body) > SEGMENT_LIMIT_BYTES:
            return None
        segments.append(SaltedSegment(salt, body))
        before = _NEXT_BODY
    return PayloadLine(index, salts[0], payload, tuple(segments))


def parse_payload_line(data: bytes) -> PayloadLine:
    """One line of payloads.jsonl without its newline, read strictly. Raises EvidenceError."""
    return _plain_line(data) or _strict_line(data)


def _strict_line(data: bytes) -> PayloadLine:
    fields = parse_object(data, "payloads", LINE_LIMIT_BYTES, _LINE_VALUES)
    index = fields.integer("index")
    salt = fields.optional_hex("salt", SALT_BYTES)
    payload = fields.optional_base64("payload", LINE_LIMIT_BYTES)
    segments = tuple(
        None if item is None else _read_segment(item, n)
        for n, item in enumerate(fields.array("segments", SEGMENTS_PER_WINDOW))
    )
    fields.done()
    if (salt is None) != (payload is None):
        raise EvidenceError("payloads.salt", "one of salt and payload", "both, or neither")
    return PayloadLine(index, None if salt is None else bytes.fromhex(salt), payload, segments)


def _read_segment(value: object, n: int) -> SaltedSegment:
    fields = Fields(value, f"payloads.segments[{n}]")
    segment = SaltedSegment(
        bytes.fromhex(fields.hex("salt", SALT_BYTES)), fields.base64("body", SEGMENT_LIMIT_BYTES)
    )
    fields.done()
    return segment
