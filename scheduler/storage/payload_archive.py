"""What opens the log's entries, as plain files beside the published tiles: never pruned, never served.

One JSON object a line, 256 lines a file like the entry bundles: `000.jsonl`, `x001/234.jsonl`. The file that is
not full yet is kept in parts, `000.p/<first>-<last>.jsonl` with places inside the file, so that adding an entry
does not write its neighbours again. A line has what a bundle's line has (index, salt, payload), a window's segments
packed as the database keeps them (`storage/segments.py`: a third of their bytes; lines of before have them one by
one), and beside it what the database knew of the entry. Nothing of this is believed: it is read back only against the
commitments in the tiles.
"""

import re
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from scheduler.storage.objects import Place, open_objects
from scheduler.storage.segments import pack_segments, unpack_segments
from suanli.evidence.bundle import parse_payload_line
from suanli.evidence.entries import PAYLOAD_LIMIT_BYTES
from suanli.evidence.errors import EvidenceError
from suanli.evidence.quick_base64 import decode as decode_base64
from suanli.evidence.quick_base64 import encode as encode_base64
from suanli.evidence.strict_json import encode, parse
from suanli.evidence.tiles import WIDTH, entries_path
from suanli.evidence.windows import SEGMENTS_PER_WINDOW, SaltedSegment

_SUFFIX = ".jsonl"
# No window that an agent can send has so long a line.
_MOST_LINE_BYTES = 16 << 20
# As `strict_json` counts: a firm for each segment, and three values for each in lines of before; the rest is names.
_MOST_LINE_VALUES = 4 * SEGMENTS_PER_WINDOW + 1024
# Names and ids: without control characters and halves of characters, which the database cannot hold.
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,256}")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ArchivedEntry:
    """What opens one entry, the name of its fact, and whose entry and segments these are.

    Segments stay packed: those of a file together may be more than there is memory.
    """

    index: int
    salt: bytes | None
    payload: bytes | None
    fact: str
    firm_id: str | None
    segment_firms: tuple[str | None, ...] = ()
    packed: bytes | None = None
    """As `pack_segments` packs them; None where there are none."""

    def segments(self) -> tuple[SaltedSegment, ...]:
        """Its segments, unpacked anew. Raises EvidenceError."""
        return () if self.packed is None else unpack_segments(self.packed)

    def encode(self) -> bytes:
        """Its line with the newline."""
        known: dict[str, object] = {
            "fact": self.fact,
            "firm_id": self.firm_id,
            "segment_firms": self.segment_firms,
            "index": self.index,
        }
        payload, salt = self.payload, self.salt
        # Hex and base64 need no escaping: put together as they are, at a third of the cost of an encoder.
        return b"".join(
            (
                orjson.dumps(known)[:-1],
                b',"payload":',
                b"null" if payload is None else b'"%b"' % encode_base64(payload),
                b',"salt":',
                b"null" if salt is None else b'"%b"' % hexlify(salt),
                b"" if self.packed is None else b',"packed":"%b"' % encode_base64(self.packed),
                b',"segments":[]}\n',
            )
        )


def parse_archived(data: bytes) -> ArchivedEntry:
    """A line without its newline; what is packed in it is unpacked when it is asked for. Raises EvidenceError."""
    try:
        value: Any = parse(data, "archive", _MOST_LINE_BYTES, _MOST_LINE_VALUES)
        fact, firm_id = _text("fact", value.pop("fact")), _text_or_none("firm_id", value.pop("firm_id"))
        firms = _texts_or_none("segment_firms", value.pop("segment_firms", []))
        text: str | None = value.pop("packed", None)
        packed = None if text is None else decode_base64(text.encode())
        rest = encode(value)
    except EvidenceError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise EvidenceError("archive", f"{type(error).__name__}: {error}", "a line of the archive") from None
    line = parse_payload_line(rest)
    if line.payload is not None and len(line.payload) > PAYLOAD_LIMIT_BYTES:
        wanted = f"at most {PAYLOAD_LIMIT_BYTES} bytes"
        raise EvidenceError("archive.payload", f"{len(line.payload)} bytes", wanted)
    if packed is None and line.segments:
        shown = [segment for segment in line.segments if segment is not None]
        if len(shown) < len(line.segments):
            raise EvidenceError("archive.segments", "a withheld one", "every segment: the archive opens all")
        packed = pack_segments(shown)
    return ArchivedEntry(line.index, line.salt, line.payload, fact, firm_id, firms, packed)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or _TEXT.fullmatch(value) is None:
        raise EvidenceError(f"archive.{name}", f"{value!r:.60}", "at most 256 characters, none for control")
    return value


def _text_or_none(name: str, value: object) -> str | None:
    return None if value is None else _text(name, value)


def _texts_or_none(name: str, value: object) -> tuple[str | None, ...]:
    if not isinstance(value, list):
        raise EvidenceError(f"archive.{name}", type(value).__name__, "a list")
    if len(value) > SEGMENTS_PER_WINDOW:
        raise EvidenceError(f"archive.{name}", f"{len(value)} names", f"at most {SEGMENTS_PER_WINDOW}")
    return tuple([_text_or_none(name, one) for one in value])


def _path(number: int) -> str:
    return entries_path(number).removeprefix("tile/entries/") + _SUFFIX


def _folder(number: int) -> str:
    return entries_path(number).removeprefix("tile/entries/") + ".p"


class PayloadArchive:
    """One place with one log's payloads. Every method raises OSError where it cannot be reached."""

    def __init__(self, place: Place) -> None:
        self._objects = open_objects(place)

    @property
    def where(self) -> str:
        """For messages: where the archive lies."""
        return self._objects.where

    def create(self) -> None:
        """Make the place where it is not there yet."""
        self._objects.prepare()

    def together(self) -> AbstractContextManager[None]:
        """A block in which this thread writes lines that need to be durable only when it has ended."""
        return self._objects.together()

    def complete(self, number: int) -> bool:
        """Whether the `number`th file is there in full."""
        return self._objects.exists(_path(number))

    def append(self, first_index: int, lines: Sequence[bytes]) -> None:
        """Write the lines of entries from `first_index` on, durably; repeating it changes nothing."""
        index, stop = first_index, first_index + len(lines)
        while index < stop:
            number, place = divmod(index, WIDTH)
            end = min((number + 1) * WIDTH, stop)
            data = b"".join(lines[index - first_index : end - first_index])
            if end % WIDTH:
                self._objects.write(f"{_folder(number)}/{place:03d}-{end % WIDTH - 1:03d}{_SUFFIX}", data)
            else:
                self._complete(number, place, data)
            index = end

    def _complete(self, number: int, place: int, data: bytes) -> None:
        parts = self._parts(number)
        before = [self._objects.read(path) or b"" for first, path in parts.items() if first < place]
        self._objects.write(_path(number), b"".join([*before, data]))
        self._drop_parts(number)

    def replace(self, number: int, lines: Sequence[bytes]) -> None:
        """Write the `number`th file anew, as far as there are lines for it."""
        if len(lines) == WIDTH:
            self._objects.write(_path(number), b"".join(lines))
            self._drop_parts(number)
            return
        keep = f"000-{len(lines) - 1:03d}{_SUFFIX}"
        if lines:
            self._objects.write(f"{_folder(number)}/{keep}", b"".join(lines))
        self._drop_parts(number, keep if lines else None)
        self._objects.remove(_path(number))

    def _drop_parts(self, number: int, keep: str | None = None) -> None:
        for name in self._objects.names(_folder(number)):
            if name != keep:
                self._objects.remove(f"{_folder(number)}/{name}")

    def _parts(self, number: int) -> dict[int, str]:
        """Paths of the parts of a file by the place of their first line; of several that begin alike, the longest."""
        longest: dict[int, tuple[int, str]] = {}
        for name in self._objects.names(_folder(number)):
            first, _, last = name.removesuffix(_SUFFIX).partition("-")
            if first.isdigit() and last.isdigit():
                longest[int(first)] = max(longest.get(int(first), (-1, "")), (int(last), name))
        return {first: f"{_folder(number)}/{name}" for first, (_, name) in sorted(longest.items())}

    def _lines(self, number: int) -> Iterator[bytes | None]:
        """Lines of a file, or of its parts; None for one that is longer than any entry."""
        whole = self._objects.pieces(_path(number))
        if whole is not None:
            yield from _lines_of(whole)
            return
        for path in self._parts(number).values():
            yield from _lines_of(self._objects.pieces(path) or ())

    def read(
        self, number: int, opens: Callable[[ArchivedEntry], bool] | None = None
    ) -> dict[int, ArchivedEntry]:
        """Entries of the `number`th file by index, as far as they can be read: damaged lines are left out.

        Of several lines for one index it is the first, or the first of which `opens` says that it opens what was
        signed: whoever can only add lines replaces none. It holds a line at a time, whoever wrote the file, and what
        it answers. Their segments are packed and may be damaged still.
        """
        entries: dict[int, ArchivedEntry] = {}
        damaged, reason = 0, ""
        for line in self._lines(number):
            if line == b"":
                continue
            try:
                entry = _parsed(line)
            except EvidenceError as error:
                damaged, reason = damaged + 1, reason or str(error)
                continue
            if entry.index // WIDTH != number or entry.index in entries:
                continue
            if opens is None or opens(entry):
                entries[entry.index] = entry
        if damaged:
            _log.warning("archive_lines_left_out", file=number, lines=damaged, first=reason)
        return entries


def _parsed(line: bytes | None) -> ArchivedEntry:
    if line is None:
        raise EvidenceError("archive", "a longer line", f"at most {_MOST_LINE_BYTES} bytes")
    return parse_archived(line)


def _lines_of(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    kept: list[bytes] = []
    length = 0
    for piece in pieces:
        *ended, begun = piece.split(b"\n")
        for end in ended:
            yield b"".join([*kept, end]) if length <= _MOST_LINE_BYTES else None
            kept, length = [], 0
        length += len(begun)
        kept = [*kept, begun] if length <= _MOST_LINE_BYTES else []
    yield b"".join(kept) if length <= _MOST_LINE_BYTES else None
