"""Into a running job: forward, attach."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suanli.cli.errors import MISUSED, CliError
from suanli.cli.session import JobName, ProfileName, chosen_server, find_job, open_client

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from suanli.client.tunnels import Session

_PORTS = re.compile(r"(\d{1,5})(?::(\d{1,5}))?")
LEFT_BY_ESCAPE = 255


def forward(
    job: JobName,
    port: Annotated[
        list[str],
        typer.Argument(
            metavar="PORT...",
            help="Port of the job, or LOCAL:PORT for another one here; 0 takes any free one.",
        ),
    ],
    rank: Annotated[
        int | None, typer.Option(min=0, help="The task rank that listens, instead of the job's.")
    ] = None,
    address: Annotated[str, typer.Option(help="Address to listen on here.")] = "127.0.0.1",
    profile: ProfileName = None,
) -> None:
    """Reach ports of a running job from this machine: a notebook, a dashboard, a model server.

    The job names them (`ports: [8888]`). Goes on until Ctrl-C or until the job has ended.
    """
    import asyncio

    pairs = [_pair(text) for text in port]
    server = chosen_server(profile)
    with open_client(profile) as client:
        job_id = find_job(client, job, live=True)["job_id"]
        try:
            asyncio.run(_forward(server.server, server.bearer, job_id, pairs, rank, address, client))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _pair(text: str) -> tuple[int, int]:
    match = _PORTS.fullmatch(text)
    numbers = [int(part) for part in match.groups() if part] if match else []
    if not numbers or max(numbers) > 65_535 or numbers[-1] == 0:
        raise CliError(f"{text!r} is no port: type PORT or LOCAL:PORT, each at most 65535", MISUSED)
    return numbers[0], numbers[-1]


async def _forward(
    server: str,
    bearer: Callable[[], str],
    job_id: str,
    pairs: list[tuple[int, int]],
    rank: int | None,
    address: str,
    client: Any,
) -> None:

    from suanli.cli.output import note, say
    from suanli.cli.refusals import naming_options
    from suanli.client.errors import Refused
    from suanli.client.tunnels import Forwarder

    forwarders = []
    try:
        for local, remote in pairs:
            forwarder = Forwarder(server, bearer, job_id, remote, rank, lambda text: note(f"suanli: {text}"))
            try:
                with naming_options({"query port": "PORT"}, as_json=False):
                    await forwarder.check()
            except Refused as error:
                if error.problem.facts.get("reason") != "no_listener":
                    raise
                note(f"suanli: {error}")
            try:
                here = await forwarder.listen(address, local)
            except OSError as error:
                raise CliError(
                    f"cannot listen on {address}:{local}: {error.strerror}; try 0:{remote} for any free port"
                ) from error
            forwarders.append(forwarder)
            say(f"http://{here} is port {remote} of the job")
        sys.stdout.flush()
        note(f"suanli: {await _ended(client, job_id)}")
    finally:
        for forwarder in forwarders:
            await forwarder.close()


async def _ended(client: Any, job_id: str) -> str:
    """What became of the job, once it has ended. In a thread that nobody waits for at the end."""
    import asyncio
    import threading

    from suanli.client.errors import ClientError

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def wait() -> None:
        try:
            said = f"the job has ended: {client.wait(job_id)['state']}"
        except (ClientError, RuntimeError) as error:
            said = f"the job cannot be watched any more: {error}"
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, said)

    def tell(said: str) -> None:
        if not answer.done():
            answer.set_result(said)

    threading.Thread(target=wait, daemon=True).start()
    return await answer


def attach(
    job: JobName,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND...]", help="What to run; without it a shell.")
    ] = None,
    rank: Annotated[int, typer.Option(min=0, help="In the allocation of this process rank.")] = 0,
    profile: ProfileName = None,
) -> None:
    """Open a terminal in a running job, as its user, in its folder, with its devices.

    Ends with the command, with the job, or when you type a line feed and ~. (tilde, dot).
    """
    import asyncio

    server = chosen_server(profile)
    with open_client(profile) as client:
        job_id = find_job(client, job, live=True)["job_id"]
    raise typer.Exit(asyncio.run(_attach(server.server, server.bearer, job_id, rank, command or [])))


async def _attach(server: str, bearer: Callable[[], str], job_id: str, rank: int, command: list[str]) -> int:
    import asyncio

    from suanli.cli.output import note
    from suanli.client.tunnels import Session, open_socket

    async with open_socket(server, bearer, job_id, "attach", {"rank": rank}) as socket:
        session = Session(socket, _write)
        columns, rows = _size()
        await session.start(columns, rows, os.environ.get("TERM", "xterm-256color"), command)
        with _Keyboard(session) as keyboard:
            running = asyncio.create_task(session.run())
            left = asyncio.create_task(keyboard.left.wait())
            await asyncio.wait({running, left}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            if not running.done():
                running.cancel()
                return LEFT_BY_ESCAPE
        said: Mapping[str, Any] = running.result()
    if said.get("detail"):
        note(f"suanli: {said['detail']}")
    code = said.get("exit_code")
    return 1 if code is None else int(code)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    return max(size.columns, 1), max(size.lines, 1)


class Escape:
    """Finds `~.` at the beginning of a line, as ssh does, however the bytes arrive."""

    def __init__(self) -> None:
        self._fresh = True
        self._tilde = False  # one was typed at the beginning of a line, and is held back

    def typed(self, data: bytes) -> tuple[bytes, bool]:
        """What to send of it, and whether the escape was typed."""
        out = bytearray()
        for byte in data:
            if self._tilde:
                if byte == ord("."):
                    return bytes(out), True
                out += b"~"
                self._tilde = False
            elif self._fresh and byte == ord("~"):
                self._tilde = True
                continue
            out.append(byte)
            self._fresh = byte in b"\r\n"
        return bytes(out), False


class _Keyboard:
    """What is typed goes to the session byte by byte: the terminal here is raw meanwhile."""

    def __init__(self, session: Session) -> None:
        import asyncio

        self._session = session
        self._loop = asyncio.get_running_loop()
        self._before: Any = None
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(16)
        self._tasks: set[asyncio.Task[None]] = set()
        self._escape = Escape()
        self.left = asyncio.Event()

    def __enter__(self) -> _Keyboard:
        self._file = sys.stdin.fileno()
        if os.isatty(self._file):
            import signal
            import termios
            import tty

            self._before = termios.tcgetattr(self._file)
            tty.setraw(self._file, termios.TCSADRAIN)  # what was typed already counts
            self._loop.add_signal_handler(signal.SIGWINCH, self._resized)
        # A thread, because standard input may be a file, which no event loop can wait for.
        import threading

        threading.Thread(target=self._read, daemon=True).start()
        self._start(self._send())
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import signal
            import termios

            self._loop.remove_signal_handler(signal.SIGWINCH)
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Any) -> None:
        import asyncio

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resized(self) -> None:
        self._start(self._session.resize(*_size()))

    def _read(self) -> None:
        import asyncio

        data: bytes | None = b" "
        while data:
            try:
                data = os.read(self._file, 4096)
            except OSError:
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(self._queue.put(data or None), self._loop).result()
            except RuntimeError:
                return  # the loop is closed: the session is over

    async def _send(self) -> None:
        while (data := await self._queue.get()) is not None:
            if self._before is not None:
                data, escaped = self._escape.typed(data)
                if escaped:
                    self.left.set()
                    return
            if data:
                await self._session.send(data)
        await self._session.finish()
