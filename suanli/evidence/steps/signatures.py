"""Step 7 for windows, by chain: each bears a signature of its node's key, or the next one of the same key proves it.

A window holds the hash of the header before it, so the signature of a chain's last window proves what all before it
say, as that of a log checkpoint proves all entries. What it holds of the log besides, the root that its node saw,
covers the exact bytes of the entries before, so that signatures cannot be exchanged afterwards. Each link of this is
checked here; where one does not hold, such as beside a gap, the signature itself is checked, and where that fails, all
are (`steps.windows.check_part`). Not proved is that each window was logged with its signature: an operator could have
logged something else in its place at once, since a node does not look for its own windows in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from suanli.evidence.keys import verify_signature
from suanli.evidence.steps.case import WindowEvidence
from suanli.evidence.steps.chains import Link
from suanli.evidence.windows import SeenCheckpoint, window_message


class Unsigned(Exception):
    """A signature that nobody vouches for does not hold: of this window, or of one that it vouched for."""


def is_signed(public_key: bytes, window: WindowEvidence) -> bool:
    """Whether a window bears a signature of the key."""
    return verify_signature(public_key, window_message(window.header_bytes), window.signature)


class Signatures:
    """Follows chains in log order and checks the signatures that no later window vouches for.

    Remembers one window a key. `is_root` says whether a log checkpoint is surely of this tree.
    """

    def __init__(self, public_keys: Mapping[str, bytes], is_root: Callable[[SeenCheckpoint], bool]) -> None:
        self._public_keys = public_keys
        self._is_root = is_root
        self._last: dict[str, WindowEvidence] = {}

    def take(self, window: WindowEvidence, end: Link | None) -> None:
        """Takes the next window; `end` is where its chain had come to before. Raises Unsigned."""
        last = self._last.get(window.producer_key_id)
        if last is not None and not self._vouches(window, last, end):
            self._check(last)
        self._last[window.producer_key_id] = window

    def finish(self) -> None:
        """Checks the last windows of all chains. Raises Unsigned."""
        for window in self._last.values():
            self._check(window)

    def _vouches(self, window: WindowEvidence, last: WindowEvidence, end: Link | None) -> bool:
        header, seen = window.header, window.header.log_checkpoint
        return (
            end is not None
            and end.log_index == last.index
            and header.seq == end.seq + 1
            and header.prev_hash == end.hash
            and seen is not None
            and last.index < seen.size <= window.index
            and self._is_root(seen)
        )

    def _check(self, window: WindowEvidence) -> None:
        if not is_signed(self._public_keys[window.producer_key_id], window):
            raise Unsigned
