"""What was sent along with a job, on its way into the task's folder: fetched, checked, unpacked as the firm's user."""

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path

from agents.content import Content, ContentRefused
from agents.runtime.spec import SpecError, TaskInput, TaskSpec
from suanli.content.manifest import ContentError, FileEntry, Manifest, hash_of, parse_manifest

UNPACK_FILE = Path(__file__).parent / "runtime" / "unpack.py"
AHEAD = 4  # objects on their way at once: 16 MiB at most
SPARE_BYTES = 64 << 20
LOOK_S = 0.2
STANDSTILL_S = 120.0  # of a disk that takes nothing: longer than what hangs on a network for a moment
END_PATIENCE_S = 5.0


class Inputs:
    """Brings inputs into folders; called in the thread that prepares, while `loop` goes on."""

    def __init__(self, content: Content, loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> None:
        self._content = content
        self._loop = loop
        self._stopped = stopped

    def bring(self, spec: TaskSpec, folder: Path, uid: int | None) -> None:
        """Unpack every input. Raises SpecError with a sentence for the researcher."""
        for number, wanted in enumerate(spec.inputs):
            try:
                self._bring(spec.allocation_id, wanted, folder, uid)
            except (ContentRefused, ContentError) as error:
                raise SpecError(f"inputs[{number}] cannot be brought to the node: {error}") from None

    def _bring(self, allocation_id: str, wanted: TaskInput, folder: Path, uid: int | None) -> None:
        data = self._fetched(allocation_id, wanted.manifest_sha256)
        manifest = parse_manifest(data)
        free = os.statvfs(folder)
        if manifest.size + SPARE_BYTES > free.f_bavail * free.f_frsize:
            raise ContentRefused(f"the node's disk has no room for its {manifest.size} bytes")
        unpacker = Unpacker(folder, uid, self._stopped)
        try:
            self._feed(unpacker, allocation_id, manifest, "" if wanted.path == "." else f"{wanted.path}/")
        finally:
            unpacker.end()
        unpacker.check()

    def _feed(self, unpacker: "Unpacker", allocation_id: str, manifest: Manifest, prefix: str) -> None:
        bodies = self._in_order(allocation_id, [o for file in manifest.files for o in file.objects])
        for file in manifest.files:
            left = file.size
            if not unpacker.begin(file, prefix):
                return  # it has said why and ended
            for _ in file.objects:
                body = next(bodies)
                left -= len(body)
                if left < 0:
                    raise ContentError(f"{file.path!r} is longer than its manifest says")
                if not unpacker.write(body):
                    return
            if left:
                raise ContentError(f"{file.path!r} is shorter than its manifest says")

    def _in_order(self, allocation_id: str, hashes: list[str]) -> Iterator[bytes]:
        """Objects in the order of their hashes, a few of them on their way ahead."""
        waiting: deque[tuple[str, Future[bytes]]] = deque()
        rest = iter(hashes)
        try:
            while True:
                while len(waiting) < AHEAD and (sha256 := next(rest, None)) is not None:
                    waiting.append((sha256, self._ask(allocation_id, sha256)))
                if not waiting:
                    return
                sha256, future = waiting.popleft()
                yield self._checked(sha256, future)
        finally:
            for _, future in waiting:
                future.cancel()

    def _ask(self, allocation_id: str, sha256: str) -> "Future[bytes]":
        return asyncio.run_coroutine_threadsafe(self._content.fetch(allocation_id, sha256), self._loop)

    def _fetched(self, allocation_id: str, sha256: str) -> bytes:
        return self._checked(sha256, self._ask(allocation_id, sha256))

    def _checked(self, sha256: str, future: "Future[bytes]") -> bytes:
        while not self._stopped.is_set():
            try:
                data = future.result(timeout=LOOK_S)
            except TimeoutError:
                continue
            except CancelledError:
                break
            if hash_of(data) != sha256:
                raise ContentError(f"object {sha256} came with other bytes")
            return data
        future.cancel()
        raise ContentRefused("stopped before it was there")


class Unpacker:
    """The process that writes as the firm's user. No wait for it is longer than `standstill_s`, or than until
    `stopped`: its disk may not answer.
    """

    def __init__(
        self,
        folder: Path,
        uid: int | None,
        stopped: threading.Event,
        *,
        command: Sequence[str] = (sys.executable, "-I", "-S", str(UNPACK_FILE)),
        standstill_s: float = STANDSTILL_S,
    ) -> None:
        self._process = subprocess.Popen(
            [*command, str(folder), "-" if uid is None else str(uid)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
        stdin = self._process.stdin
        self._into = -1 if stdin is None else stdin.fileno()
        os.set_blocking(self._into, False)  # this end of the pipe alone
        self._room = select.poll()
        self._room.register(self._into, select.POLLOUT)
        self._stopped = stopped
        self._standstill_s = standstill_s
        self._given_up = False
        self._said = b""
        self._problem = "it failed"

    def begin(self, file: FileEntry, prefix: str) -> bool:
        """The next file. False where the process has ended, as below."""
        header = {"path": prefix + file.path, "size": file.size, "executable": file.executable}
        data = json.dumps(header).encode()
        return self.write(len(data).to_bytes(4, "big") + data)

    def write(self, data: bytes) -> bool:
        """Feed bytes. False where it takes no more: `check` says why."""
        left = memoryview(data)
        try:
            while left:
                if not self._came(lambda: bool(self._room.poll(LOOK_S * 1000))):
                    return False
                left = left[os.write(self._into, left) :]
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Nothing more comes; wait for its word."""
        if not self.write(b"\0\0\0\0") or not self._came(lambda: self._ended(LOOK_S)):
            self._process.kill()
            self._ended(END_PATIENCE_S)  # one that hangs in the kernel is left

    def _ended(self, patience_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._said, _ = self._process.communicate(timeout=patience_s)
            return True
        return False

    def _came(self, look: Callable[[], bool]) -> bool:
        """Look until it is so, it was stopped, or it has stood still for too long. A look takes LOOK_S at most."""
        late_s = time.monotonic() + self._standstill_s
        while not self._given_up and not look():
            if time.monotonic() > late_s:
                self._problem = "the node's disk does not answer"
                self._given_up = True
            self._given_up |= self._stopped.is_set()
        return not self._given_up

    def check(self) -> None:
        """Raise ContentRefused where it did not succeed."""
        try:
            said = json.loads(self._said or b"null")
        except ValueError:
            said = None
        if said == {} and self._process.returncode == 0:
            return
        problem = said.get("error", self._problem) if isinstance(said, dict) else self._problem
        where = f"{said['path']}: " if isinstance(said, dict) and said.get("path") else ""
        raise ContentRefused(f"cannot be unpacked: {where}{problem}")
