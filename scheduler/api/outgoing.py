"""HTTPS to a place that a stranger has named: once resolved, judged, and then connected to that very address.

No redirects, no proxies, no cookies, nothing of the answer kept but its status; everything bounded in time
and bytes. What may be reached is the public internet, and the networks that the operator allows.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import h11

TIMEOUT_S: Final = 15.0  # from the first look at the name to the status line
MOST_ANSWER_BYTES: Final = 64 * 1024
HTTPS_PORT: Final = 443

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Coroutine[Any, Any, Sequence[str]]]

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


class OutgoingError(Exception):
    """It was not posted, or not answered; the sentence is for the researcher."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks as an operator writes them: `10.1.0.0/16, fd00::/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def may_reach(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a stranger may make us connect there: a public address, or one that the operator allows."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return may_reach(inner, allowed)
        if address in _NAT64:
            return may_reach(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF), allowed)
    if any(address in network for network in allowed):
        return True
    # What is reserved (RFC 4291, 4) holds further forms of IPv4 addresses, such as 64:ff9b:1::/48 of RFC 8215.
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.is_reserved):
        return False
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses behind a name, in the system's order. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def context_with(authorities: Path | None) -> ssl.SSLContext:
    """TLS as usual; `authorities` (PEM) are trusted beside the system's. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context()
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where one may post to, and how long that may take."""

    allowed: tuple[Network, ...] = ()
    context: ssl.SSLContext = field(default_factory=lambda: context_with(None))
    timeout_s: float = TIMEOUT_S
    resolve: Resolve = resolve

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises OutgoingError."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._post(url, headers, body)
        except TimeoutError:
            raise OutgoingError(f"no answer within {self.timeout_s:g} s") from None
        except (OSError, h11.ProtocolError, UnicodeError) as error:
            # OpenSSL's sentences name files of ours and nothing that helps; its reason does.
            reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
            raise OutgoingError(f"cannot be reached: {reason or type(error).__name__}"[:300]) from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
        if parts.scheme != "https" or not host:
            raise OutgoingError("only https is spoken")
        address = await self._address_of(host, port)
        reader, writer = await asyncio.open_connection(
            address, port, ssl=self.context, server_hostname=host, limit=MOST_ANSWER_BYTES
        )
        try:
            return await _exchange(reader, writer, parts.netloc, _target(url), headers, body)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _address_of(self, host: str, port: int) -> str:
        """One address, which is then connected to: a name that changes its mind meanwhile changes nothing.

        A name with any address that is out of bounds is refused whole.
        """
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in await self.resolve(host, port)]
        if not found:
            raise OutgoingError(f"the name {host} has no address")
        for address in found:
            if not may_reach(address, self.allowed):
                raise OutgoingError(
                    f"{host} leads to an address that is not public (an operator can allow its network: "
                    "SUANLI_WEBHOOK_NETWORKS)"
                )
        return str(found[0])


def _target(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
) -> int:
    """One request and the status of its answer. Raises OSError, h11.ProtocolError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_ANSWER_BYTES)
    named = {
        "host": host,
        "user-agent": "suanli",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **headers,
    }
    for event in (
        h11.Request(method="POST", target=target, headers=list(named.items())),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    read = 0
    while True:
        heard = connection.next_event()
        if isinstance(heard, h11.Response):
            return int(heard.status_code)
        if heard is h11.NEED_DATA:
            data = await reader.read(8192)
            read += len(data)
            if read > MOST_ANSWER_BYTES:
                raise OutgoingError("the answer is too long")
            connection.receive_data(data)
        elif not isinstance(heard, h11.InformationalResponse):
            raise OutgoingError("the connection was closed before an answer came")
