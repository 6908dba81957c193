"""Which process listens on a port, from /proc: a tunnel leads to the task's own listener and to no other.

Formats: proc_net_tcp (kernel documentation, networking/proc_net_tcp.rst); addresses are 32-bit words in the
host's byte order.
"""

import ipaddress
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"


def listeners(table: str, port: int) -> dict[int, str]:
    """Socket inode -> address of every listener on `port` in the text of /proc/net/tcp or tcp6. PURE."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, number = fields[1].partition(":")
        if fields[3] == LISTEN and int(number, 16) == port:
            found[int(fields[9])] = _address(address)
    return found


def _address(text: str) -> str:
    words = bytes.fromhex(text)
    if sys.byteorder == "little":
        words = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def sockets_of(pids: Iterable[int]) -> set[int]:
    """Inodes of the sockets that these processes hold; those that end meanwhile are left out."""
    held = set()
    for pid in pids:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{name}")
                    if target.startswith("socket:["):
                        held.add(int(target[8:-1]))
    return held


def listening_address(pids: Iterable[int], port: int) -> str | None:
    """Where to connect in order to reach the listener of one of these processes; None where none listens."""
    held = sockets_of(pids)
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for inode, address in listeners(Path(f"/proc/net/{table}").read_text("ascii"), port).items():
                if inode in held:
                    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared
    return None
