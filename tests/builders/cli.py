"""`suanli` as its users run it, many times over: copies of a process that has loaded it already.

Each command is a process of its own, with its own arguments, environment, folder and output. Only the seven tenths of
a second are saved in which Python would load the same modules again; tests of just that start the program itself.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.builders.running import END_S

_MOST_BYTES = 1 << 17
_SERVER = """
import importlib, json, os, pkgutil, socket, sys, time, tomllib, traceback, zoneinfo
import pydantic.type_adapter, suanli.cli, suanli.client, suanli.content
for package in (suanli.cli, suanli.client, suanli.content):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from suanli.cli.start import main

def become(request, streams):
    line.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["suanli", *request["arguments"]]
    status = 1
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

line = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, streams, _, _ = socket.recv_fds(line, int(sys.argv[2]), 3)
    if not message:
        break
    pid = os.fork()
    if pid == 0:
        become(json.loads(message), streams)
    for stream in streams:
        os.close(stream)
    line.send(str(pid).encode())
    line.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
"""


@cache
def _line() -> socket.socket:
    """To the one process of this test process. It ends when the other end of the line is gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(theirs.fileno()), str(_MOST_BYTES)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Neither folder nor variables of the test that happens to be first: with its folder its processes end.
            cwd="/",
            env={n: v for n, v in os.environ.items() if n == "PATH" or n.startswith("PYTHON")},
        )

    def end() -> None:
        ours.close()
        process.wait(END_S)

    atexit.register(end)
    return ours


def run_suanli(
    *arguments: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
    stdin: str | bytes = b"",
    timeout_s: float = 60.0,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end. Raises subprocess.TimeoutExpired."""
    line = _line()
    request = {
        "arguments": arguments,
        "environment": dict(environment),
        "folder": str(folder or Path.cwd()),
    }
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin if isinstance(stdin, bytes) else stdin.encode())
        given.seek(0)
        line.settimeout(timeout_s)
        socket.send_fds(line, [json.dumps(request).encode()], [given.fileno(), out.fileno(), err.fileno()])
        pid = int(line.recv(32))
        try:
            status = int(line.recv(32))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            line.recv(32)
            raise subprocess.TimeoutExpired(["suanli", *arguments], timeout_s) from None
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n").replace("\r", "\n"))  # as text is read
    return subprocess.CompletedProcess(["suanli", *arguments], status, *said)
