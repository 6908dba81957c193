"""Who listens on a port, read from the kernel's tables."""

import os
import socket
import subprocess
import sys

from agents.runtime.listeners import listeners, listening_address, sockets_of

# One listener on 127.0.0.1:8888, one on all addresses, one established connection from port 8888.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0
   2: 0100007F:22B8 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 103 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm
   0: 00000000000000000000000000000000:22B8 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 201 1 0
   1: 0000000000000000FFFF00000100007F:22B8 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 202 1 0
   2: 00000000000000000000000001000000:22B8 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 203 1 0
"""


def test_listeners_of_a_port_are_found_with_their_addresses() -> None:
    assert listeners(TCP, 8888) == {101: "127.0.0.1"}
    assert listeners(TCP, 22) == {102: "0.0.0.0"}  # noqa: S104 - compared
    assert listeners(TCP, 80) == {}


def test_addresses_of_the_sixth_version_are_read() -> None:
    assert listeners(TCP6, 8888) == {201: "::", 202: "127.0.0.1", 203: "::1"}


def test_only_the_listener_of_one_of_the_processes_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert listening_address([os.getpid()], port) == "127.0.0.1"
            assert listening_address([child.pid], port) is None
            assert os.fstat(server.fileno()).st_ino in sockets_of([child.pid, os.getpid()])
        assert listening_address([os.getpid()], port) is None
    finally:
        child.communicate(b"\n")


def test_a_listener_on_all_addresses_is_reached_on_this_host() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - for a moment, and nothing is served
        assert listening_address([os.getpid()], server.getsockname()[1]) == "127.0.0.1"
