"""The API's end: dial the gateway that holds a node's stream, and ask for a tunnel."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.tunnels.frames import FrameError, FrameStream, Kind, read_object

CONNECT_TIMEOUT_S = 5.0
# The gateway waits for the agent, and the agent for its task; a little longer than both.
OPEN_TIMEOUT_S = 20.0


class TunnelRefused(Exception):
    """The tunnel was not opened: `reason` is of the closed list in tunnel.proto, the text for the researcher."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class GatewayAway(Exception):
    """The gateway cannot be reached, or is not ours."""


@dataclass(frozen=True, slots=True)
class TunnelDialer:
    """Knows the installation's authority and secret, read anew for each tunnel."""

    authority: Path
    secret_file: Path

    async def open(self, address: str, target: Mapping[str, Any]) -> FrameStream:
        """A tunnel to a target. Raises TunnelRefused, GatewayAway."""
        host, _, port = address.rpartition(":")
        stream = None
        try:
            secret = self.secret_file.read_text(encoding="ascii").strip()
            context = _context(self.authority)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
            stream = FrameStream(reader, writer)
            await stream.write_json(Kind.OPEN, {**target, "secret": secret})
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                answer = await stream.read()
            if answer is not None and answer[0] is Kind.OPENED:
                return stream
            said = read_object(answer[1]) if answer is not None and answer[0] is Kind.ENDED else None
        except (OSError, TimeoutError, FrameError, ValueError) as error:
            if stream is not None:
                await stream.close()
            raise GatewayAway(f"{address}: {error or type(error).__name__}") from error
        await stream.close()
        if said is None:
            raise GatewayAway(f"{address} closed the connection")
        raise TunnelRefused(str(said.get("reason")), str(said.get("detail")))


def _context(authority: Path) -> ssl.SSLContext:
    # Whose certificate our authority signed for a server, that is a gateway of ours; its name may be any of
    # its addresses. Agents' certificates are for clients and do not pass.
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
