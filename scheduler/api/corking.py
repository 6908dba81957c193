"""An answer leaves in one piece.

Uvicorn writes its head and its body apart: two system calls, two packets, and a caller that is woken twice. What is
written within one step of the loop is gathered here, which is a tenth of what a small answer costs.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 1 << 16  # gathered; what is large gains nothing, and memory is the transport's to bound


class Corked:
    """A transport that writes at the end of the loop's step."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Takes what is to be written."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what it has, and ends."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            whole = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
            self._pieces, self._bytes = [], 0
            if not self._transport.is_closing():  # whoever asked may have gone meanwhile
                self._transport.write(whole)


class CorkedHttp(HttpToolsProtocol):
    """Uvicorn's protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(cast("asyncio.Transport", Corked(transport, self.loop)))
