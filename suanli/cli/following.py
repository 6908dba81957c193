"""Watching a job until it has ended: its output as it comes, its events beside it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Iterator
from queue import Queue
from typing import TYPE_CHECKING, TypeVar

from suanli.cli.log_lines import LogLines
from suanli.cli.output import note

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.types import Job, LogRecord

T = TypeVar("T")
SUCCEEDED = 0
NOT_SUCCEEDED = 1
INTERRUPTED = 130
_MOST_AHEAD = 64  # records that were read and not printed yet
_TOLD = {
    "JobAllocated": "has its devices",
    "JobStarted": "runs",
    "JobPreempted": "is asked to make room, and goes on later",
    "JobRetried": "is tried again",
    "JobSucceeded": "succeeded",
    "JobFailed": "failed",
    "JobCancelled": "was cancelled",
    "CancelRequested": "is asked to stop",
}


def write_text(text: str) -> None:
    """To standard output at once; characters that its encoding lacks are replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def processes_of(job: Job) -> int:
    """How many processes a job's gang has, at its largest."""
    gang = job["spec"]["gang"]
    if gang["groups"]:
        return sum(int(group["tasks"] * group["processes_per_task"]) for group in gang["groups"])
    if gang["elastic"]:
        gang = {**gang, "devices": gang["elastic"]["max_devices"]}
    return int(gang["devices"] // gang["devices_per_node"] * gang["processes_per_node"])


def apart(items: Iterable[T]) -> Iterator[T]:
    """The items, read by a thread of their own, so that Ctrl-C leaves the wait for them and not the HTTP library: where
    that has just taken a lock, it keeps it, and closing the client waits for it for ever.
    """
    came: Queue[list[T] | BaseException | None] = Queue(_MOST_AHEAD)

    def read() -> None:
        try:
            for item in items:
                came.put([item])
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            came.put(error)
        came.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (one := came.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield from one


def print_records(
    records: Iterable[LogRecord], *, prefix: bool, raw: bool, as_json: bool, times: bool = False
) -> None:
    """Output as lines for people, or the records themselves for programs."""
    lines = LogLines(write_text, prefix=prefix, raw=raw, times=times)
    try:
        for record in apart(records):
            if as_json:
                write_text(json.dumps(record, ensure_ascii=False) + "\n")
            elif "text" in record:
                lines.add(record)
            else:
                lines.finish()
                note("suanli: the output is incomplete: a node was lost before it had sent all of it")
    finally:
        lines.finish()


def follow_job(client: Client, job: Job, *, as_json: bool) -> int:
    """Show output and events until the end; the exit code says whether the job succeeded."""
    job_id = job["job_id"]
    try:
        _watch(client, job, as_json=as_json)
    except KeyboardInterrupt:
        note("\nThe job goes on.")
        note(f"Come back with: suanli logs -f {job['name']}    Stop it with: suanli cancel {job['name']}")
        return INTERRUPTED
    ended = client.job(job_id)
    if as_json:
        write_text(json.dumps({"job": ended}, ensure_ascii=False) + "\n")
    else:
        why = client.explain(job_id)
        note(why["sentence"])
    return SUCCEEDED if ended["state"] == "succeeded" else NOT_SUCCEEDED


def _watch(client: Client, job: Job, *, as_json: bool) -> None:
    if not as_json:
        note(f"Submitted {job['name']}: {job['job_id']}")
        why = client.explain(job["job_id"])
        if why["state"] == "queued":
            note(why["sentence"])
    teller = threading.Thread(target=_tell, args=(client, job, as_json), daemon=True)
    teller.start()
    output = client.logs(job["job_id"], follow=True)
    print_records(output, prefix=processes_of(job) > 1, raw=False, as_json=as_json)
    teller.join(timeout=5)


def _tell(client: Client, job: Job, as_json: bool) -> None:
    from suanli.client.errors import ClientError

    try:
        for event in client.events(job_id=job["job_id"]):
            if as_json:
                write_text(json.dumps({"event": event}, ensure_ascii=False) + "\n")
            elif event["kind"] in _TOLD:
                note(f"-- {job['name']} {_TOLD[event['kind']]}")
    except RuntimeError:
        # The client was closed under us: whoever followed has left.
        return
    except ClientError as error:
        note(f"suanli: the events cannot be followed: {error}")
