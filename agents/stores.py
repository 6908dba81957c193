"""Object stores of jobs: inputs fetched before a task starts, outputs written after it, both as the firm's user."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agents.runtime.spec import SpecError, StoreFolder, TaskSpec
from agents.transfer.telling import TAKE_BACK_S
from suanli.content.sizes import told_size

TRANSFER = "agents.transfer"
PATIENCE_S = 180  # for a store that does not answer
SAY_EVERY_S = 10.0
FIRST_AFTER_S = 2.0  # what is quicker is told once, when it is there
_GIVES_UP_S = 2.0  # for the process, which ends itself when it was given time enough
_KEPT_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # where an operator's own authorities stand
Say = Callable[[str], None]


class StoreProblem(Exception):
    """Objects could not be moved; the sentence is for the researcher. `refused`: no other node would fare better."""

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused


class StoreRefused(SpecError):
    """An input cannot be had, or an output not be written, here or anywhere."""


@dataclass(frozen=True)
class Transfers:
    """Starts the processes that move objects. Every method blocks; `stopped` ends it."""

    stopped: threading.Event
    say: Say
    patience_s: int = PATIENCE_S

    def bring(self, spec: TaskSpec, folder: Path, uid: int | None) -> None:
        """Fetch every input, and look whether outputs can be written, while nothing has been lost yet.

        Raises StoreRefused, or SpecError where another node may fare better.
        """
        there = []
        for work, folders in (("check", spec.store_outputs), ("fetch", spec.store_inputs)):
            for wanted in folders:
                try:
                    moved, _ = self._run(work, wanted, folder, uid)
                except StoreProblem as error:
                    kind = StoreRefused if error.refused else SpecError
                    raise kind(f"{wanted.field}: {error}") from None
                if work == "fetch":
                    there.append(f"{wanted.field}: {moved}")
                    self.say("; ".join(there))

    def write(self, output: StoreFolder, folder: Path, uid: int | None) -> str:
        """Write what is at the output's path; says what was left out. Raises StoreProblem."""
        _, skipped = self._run("upload", output, folder, uid)
        return f"left out, because they are no regular files: {skipped}" if skipped else ""

    def _run(self, work: str, wanted: StoreFolder, folder: Path, uid: int | None) -> tuple[str, str]:
        """What was moved, in words, and names of what was left out. Raises StoreProblem."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", TRANSFER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            cwd="/",
            bufsize=0,  # so that `select` sees every line
        )
        with process:
            try:
                return self._follow(process, self._request(work, wanted, folder, uid), wanted)
            finally:
                _end(process, TAKE_BACK_S + _GIVES_UP_S if work == "upload" else 0)

    def _request(self, work: str, wanted: StoreFolder, folder: Path, uid: int | None) -> bytes:
        keys = wanted.keys
        request = {
            "work": work,
            "user": "-" if uid is None else str(uid),
            "folder": str(folder),
            "path": wanted.path,
            "endpoint": wanted.endpoint,
            "region": wanted.region,
            "virtual_hosted": wanted.virtual_hosted,
            "bucket": wanted.bucket,
            "key": wanted.key,
            "access_key": keys.access_key if keys else "",
            "secret_key": keys.secret_key if keys else "",
            "session_token": keys.session_token if keys else "",
            "patience_s": self.patience_s,
        }
        return json.dumps(request).encode() + b"\n"

    def _follow(
        self, process: "subprocess.Popen[bytes]", request: bytes, wanted: StoreFolder
    ) -> tuple[str, str]:
        if process.stdin is None or process.stdout is None:
            raise StoreProblem("no pipe")
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except OSError:
            raise StoreProblem("the node could not begin to move it") from None
        said_s, skipped = time.monotonic() - SAY_EVERY_S + FIRST_AFTER_S, ""
        while True:
            if self.stopped.is_set():
                raise StoreProblem("stopped before it was there")
            if not select.select([process.stdout], [], [], 0.5)[0]:
                continue
            said = _parsed(process.stdout.readline())
            if "done_bytes" in said:
                if time.monotonic() - said_s >= SAY_EVERY_S:
                    said_s = time.monotonic()
                    done, whole = (told_size(int(str(said[key]))) for key in ("done_bytes", "all_bytes"))
                    self.say(f"{wanted.field}: {done} of {whole}")
            elif "skipped" in said:
                skipped = str(said["skipped"])
            elif "ended" in said:
                break
            else:
                raise StoreProblem(
                    str(said.get("problem", "the node could not move it")),
                    refused=said.get("kind") == "refused",
                )
        return f"{said['ended']} files, {told_size(int(str(said['bytes'])))}", skipped


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Ends it, an upload when it has taken back the parts of what is not whole in the bucket."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    process.kill()


def _parsed(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line or b"null")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
