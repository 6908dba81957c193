"""What a test starts and must end again: processes, servers in threads, tasks of a loop. Each wait has a bound."""

import asyncio
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import HTTPServer
from typing import IO, Any, AnyStr, TypeVar

END_S = 30.0
Process = TypeVar("Process", bound="subprocess.Popen[Any]")
Server = TypeVar("Server", bound=HTTPServer)
T = TypeVar("T")


def next_line(stream: IO[AnyStr] | None, seconds: float = END_S) -> AnyStr:
    """The next line that a process writes; empty when it has ended. Raises AssertionError where none comes."""
    assert stream is not None
    lines: queue.SimpleQueue[AnyStr] = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"no line came within {seconds:g} s") from None


@contextmanager
def ending(process: Process) -> Iterator[Process]:
    """The process, which is killed at the end of the block where it still runs."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(END_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):  # what could not be written any more
                if pipe is not None:
                    pipe.close()


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server, answering in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(END_S)
        server.server_close()


async def ended(task: asyncio.Task[T], seconds: float = END_S) -> T:
    """What the task gives, which was asked to end. Cancelled, and an AssertionError, where it does not."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise AssertionError(f"{task} did not end within {seconds:g} s")
    return task.result()
