"""The process: `python -I -m agents.transfer`.

Standard input: one line of JSON (`agents.stores` writes it); when standard input ends, so does the process. Keys
come this way alone, and after the change of user no other process of that user can look into this one. Standard
output: lines of JSON, {"done_bytes", "all_bytes", "files"} or {"skipped"} on the way, at last {"ended": files, "bytes"}
or {"problem", "kind"}. The user is changed before anything is opened, file or connection.

`kind` is `refused` (asking again, here or elsewhere, is of no use), `local` (this node) or `away` (perhaps later).
"""

import contextlib
import encodings.idna  # noqa: F401 - read now: after the change of user our own files may be out of reach
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import S3Store

from agents.runtime.unpack import become
from agents.transfer.asking import CODE, open_store, told_of
from agents.transfer.fetch import fetch
from agents.transfer.telling import TAKE_BACK_S, Problem, say
from agents.transfer.upload import upload

Work = Callable[[S3Store, dict[str, Any]], tuple[int, int]]  # files and bytes


def check(store: S3Store, request: dict[str, Any]) -> tuple[int, int]:
    """Whether the bucket is there and the key is known. Raises Problem, BaseError."""
    try:
        obstore.list_with_delimiter(store, "suanli-looks-whether-the-bucket-is-there")
    except PermissionDeniedError as error:
        found = CODE.search(str(error))
        if found is None or found[1] != "AccessDenied":
            raise  # else it may write and not list
    return 0, 0


def main(source: BinaryIO) -> int:
    """Do what is asked; 0 where all went well."""
    request = json.loads(source.readline())
    _be_ended_first()
    become(request["user"])
    stopping = threading.Event()
    grace_s = TAKE_BACK_S if request["work"] == "upload" else 0.0
    threading.Thread(target=_end_with, args=(source, stopping, grace_s), daemon=True).start()
    said: dict[str, object]
    try:
        store = open_store(request)
        leave = partial(upload, stopping=stopping)
        works: dict[str, Work] = {"fetch": fetch, "upload": leave, "check": check}
        files, size = works[request["work"]](store, request)
        said = {"ended": files, "bytes": size}
    except Problem as problem:
        said = {"problem": str(problem), "kind": problem.kind}
    except (BaseError, OSError) as error:
        told = told_of(error, request)
        said = {"problem": str(told), "kind": told.kind}
    say(said)
    return 0 if "ended" in said else 1


def _be_ended_first() -> None:
    """Where memory runs out, before the tasks of all firms: the agent's own rank is inherited."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")


def _end_with(source: BinaryIO, stopping: threading.Event, grace_s: float) -> None:
    """The agent has gone, or does not want it any more."""
    source.read()
    stopping.set()
    time.sleep(grace_s)  # the process ends with its work, if that is sooner
    os._exit(1)


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.stdin.buffer)
    finally:
        os._exit(code)  # not waiting for the threads: of the library, and of standard input
