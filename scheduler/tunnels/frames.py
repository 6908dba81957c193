"""What travels between API and gateway: frames of one byte kind, four bytes length, and so many bytes.

Bytes of the tunnel are in DATA frames; everything else is a JSON object. Nobody reads ahead: a side that is
slow stops the other through TCP's own window.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Any

MOST_FRAME_BYTES = 65_536
_HEAD_BYTES = 5


class Kind(IntEnum):
    """What a frame is."""

    OPEN = 1  # API: the secret and the target; the first frame
    OPENED = 2  # gateway: the target is reached
    ENDED = 3  # gateway: {reason, detail, exit_code}; the last frame, or the only one
    DATA = 4
    FINISHED = 5  # this side sends no more data
    SIZE = 6  # API: {columns, rows}


class FrameError(Exception):
    """The other side does not speak our frames."""


class FrameStream:
    """Frames over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end of the connection. Raises FrameError, OSError."""
        try:
            head = await self._reader.readexactly(_HEAD_BYTES)
            length = int.from_bytes(head[1:], "big")
            if length > MOST_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes; {MOST_FRAME_BYTES} are allowed")
            payload = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        try:
            return Kind(head[0]), payload
        except ValueError:
            raise FrameError(f"a frame of kind {head[0]}") from None

    async def write(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame, and wait while the other side is slow. Raises OSError."""
        for begin in range(0, max(len(payload), 1), MOST_FRAME_BYTES):
            part = payload[begin : begin + MOST_FRAME_BYTES]
            self._writer.write(bytes([kind]) + len(part).to_bytes(4, "big"))
            self._writer.write(part)
        await self._writer.drain()

    async def write_json(self, kind: Kind, value: Mapping[str, Any]) -> None:
        """Send a frame that holds an object."""
        await self.write(kind, json.dumps(value).encode())

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


def read_object(payload: bytes) -> dict[str, Any]:
    """The object in a frame. Raises FrameError."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise FrameError("a frame that holds no JSON") from None
    if not isinstance(value, dict):
        raise FrameError("a frame that holds no object")
    return value
