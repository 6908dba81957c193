"""Step 7 for windows: each bears a signature of its node's key, or the next one of the same key vouches for it.

From version 3 on a window holds two hashes of the one before: of its header and of its signature. Only the node's key
can have signed a window whose signature holds, so what that one says of the window before, the key's holder says; and
so on back to where the chain begins. Thus one signature proves a whole run of windows, each byte of their signatures
included, as that of a log checkpoint proves all entries. Where nothing vouches for a window (the end of a chain, a gap,
a next one that names something else, or nothing, as those of older agents do), its own signature is checked; and where
one fails, all are checked (`steps.windows.check_part`), so that each that fails is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from suanli.evidence.keys import verify_signature
from suanli.evidence.steps.case import WindowEvidence
from suanli.evidence.steps.chains import Link
from suanli.evidence.windows import signature_hash, window_message


class Unsigned(Exception):
    """A signature that nobody vouches for does not hold: of this window, or of one that it vouched for."""


class _Last(NamedTuple):
    """The last window of a key: what of it is not proved yet."""

    log_index: int
    header_bytes: bytes
    signature: bytes


def is_signed(public_key: bytes, window: WindowEvidence | _Last) -> bool:
    """Whether a window bears a signature of the key."""
    return verify_signature(public_key, window_message(window.header_bytes), window.signature)


class Signatures:
    """Follows chains in log order and checks the signatures that no later window vouches for.

    Remembers one window a key.
    """

    def __init__(self, public_keys: Mapping[str, bytes]) -> None:
        self._public_keys = public_keys
        self._last: dict[str, _Last] = {}

    def take(self, window: WindowEvidence, end: Link | None) -> None:
        """Takes the next window; `end` is where its chain had come to before. Raises Unsigned."""
        last = self._last.get(window.producer_key_id)
        if last is not None and not _vouches(window, last, end):
            self._check(window.producer_key_id, last)
        self._last[window.producer_key_id] = _Last(window.index, window.header_bytes, window.signature)

    def finish(self) -> None:
        """Checks the last windows of all chains. Raises Unsigned."""
        for key_id, last in self._last.items():
            self._check(key_id, last)

    def _check(self, key_id: str, last: _Last) -> None:
        if not is_signed(self._public_keys[key_id], last):
            raise Unsigned


def _vouches(window: WindowEvidence, last: _Last, end: Link | None) -> bool:
    """Whether a window names all of the one that its key signed before."""
    header = window.header
    return (
        end is not None
        and end.log_index == last.log_index
        and header.seq == end.seq + 1
        and header.prev_hash == end.hash
        and header.prev_signature_hash == signature_hash(last.signature)
    )
