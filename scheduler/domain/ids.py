"""Identifiers: UUIDv7 (RFC 9562), each kind with a type of its own: a job id is never taken for a node's.

The clock and the random numbers come in as arguments: this ring has neither.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

FirmId = NewType("FirmId", str)
PrincipalId = NewType("PrincipalId", str)
ApiKeyId = NewType("ApiKeyId", str)
JoinTokenId = NewType("JoinTokenId", str)
JobId = NewType("JobId", str)
NodeId = NewType("NodeId", str)
DeviceId = NewType("DeviceId", str)
AllocationId = NewType("AllocationId", str)
GatewayId = NewType("GatewayId", str)
PriceId = NewType("PriceId", str)
ProgramId = NewType("ProgramId", str)

RANDOM_BYTES = 10


def uuid7(now_ms: int, random: bytes) -> str:
    """Makes a UUIDv7 of a time (milliseconds UTC, 48 bits) and 10 random bytes (74 bits of them).

    Raises ValueError when the time or the number of bytes is out of range.
    """
    if not 0 <= now_ms < 1 << 48:
        raise ValueError(f"time {now_ms} ms does not fit into 48 bits")
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a UUIDv7 needs {RANDOM_BYTES} random bytes, got {len(random)}")
    bits = int.from_bytes(random)
    random_a = bits >> 68  # 12 bits
    random_b = bits & ((1 << 62) - 1)
    text = f"{now_ms << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"  # `uuid.UUID` takes four times as long


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in the usual form (lower case, with hyphens)."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Ids:
    """Where new ids come from: `random_bytes(n)` is `os.urandom` in production, a seeded source in tests."""

    random_bytes: Callable[[int], bytes]

    def new(self, now_ms: int) -> str:
        """A fresh UUIDv7 for this moment."""
        return uuid7(now_ms, self.random_bytes(RANDOM_BYTES))
