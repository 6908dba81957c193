"""How far the chain of windows has been signed, beside the spool: two slots, the newer one counts.

The spool's database says the same. That it is said twice is what keeps a chain from being signed a second time:
where the database has lost windows that it had promised (a torn disk, a file put back from a copy), this says
that there were more. Written after the database, so that a crash leaves it behind and never ahead.
"""

import os
import re
import zlib
from pathlib import Path

from agents.refusals import SpoolFull, StateUnusable
from agents.signing import Chain

SLOT_BYTES = 128
_SLOT = re.compile(rb"(?P<seq>[0-9]{20}) (?P<hash>[0-9a-f]{64}) (?P<crc>[0-9a-f]{8})\n *")


class ChainHead:
    """The file. Raises StateUnusable where it cannot be read."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            slots = [_parse(os.pread(self._file, SLOT_BYTES, n * SLOT_BYTES)) for n in (0, 1)]
        except OSError as error:
            raise StateUnusable(f"{path} cannot be used: {error.strerror}") from None
        seqs = [0 if slot is None else slot.seq for slot in slots]
        self._next = 0 if seqs[0] <= seqs[1] else 1  # the older slot is written over
        self.chain = slots[1 - self._next]
        """Where the chain goes on; None where nothing was written, or both slots are torn."""

    def write(self, chain: Chain) -> None:
        """Note durably where the chain goes on. Raises SpoolFull."""
        text = f"{chain.seq:020d} {chain.prev_hash}".encode()
        slot = (text + f" {zlib.crc32(text):08x}\n".encode()).ljust(SLOT_BYTES)
        try:
            os.pwrite(self._file, slot, self._next * SLOT_BYTES)
            os.fsync(self._file)
        except OSError as error:
            raise SpoolFull(f"the chain's head could not be written: {error.strerror}") from None
        self._next = 1 - self._next
        self.chain = chain

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _parse(slot: bytes) -> Chain | None:
    match = _SLOT.fullmatch(slot)
    if match is None:
        return None
    text = slot[: match.end("hash")]
    if int(match["crc"], 16) != zlib.crc32(text):
        return None
    return Chain(int(match["seq"]), match["hash"].decode())
