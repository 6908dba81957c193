"""Output and events: logs, events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.session import AsJson, JobName, ProfileName, find_job, open_client

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.types import Job


def logs(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    job: JobName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    rank: Annotated[int | None, typer.Option(min=0, help="Only this process rank.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="This attempt instead of the newest.")] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Begin with so many last lines of each stream.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only what came since then: 10m, 2h, or a time like 2026-01-31T08:00."),
    ] = None,
    timestamps: Annotated[
        bool,
        typer.Option("--timestamps", "-t", help="Begin each line with when it reached the control plane."),
    ] = False,
    download: Annotated[
        Path | None,
        typer.Option(
            help="Save each stream to a file in this folder; run again, it saves what is new.",
            show_default=False,
        ),
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only standard error.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only standard output.")] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="As it came, control characters included: only where you trust the job."),
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's output, merged by time; with several processes each line begins with its [rank]."""
    from suanli.cli.errors import MISUSED, CliError
    from suanli.cli.following import print_records, processes_of
    from suanli.cli.moments import moment_or_ago

    begin = moment_or_ago(since, "--since")
    if download is not None and (follow or timestamps or tail is not None or since is not None):
        left_out = "leave out --follow, --timestamps, --tail and --since"
        raise CliError(f"--download saves whole streams: {left_out}", MISUSED)
    stream = None if stdout == stderr else "stdout" if stdout else "stderr"
    with open_client(profile) as client:
        found = find_job(client, job)
        processes = processes_of(found)
        if rank is not None and rank >= processes:
            raise CliError(
                f"--rank: got {rank}, want one of the job's {processes} processes, counted from 0", MISUSED
            )
        if attempt is not None and attempt > max(found["attempt"], 1):
            raise CliError(
                f"--attempt: got {attempt}, the newest attempt of {found['name']} is {found['attempt']}",
                MISUSED,
            )
        if download is not None:
            _download(client, found, download, attempt or max(found["attempt"], 1), rank, stream)
            return
        records = client.logs(
            found["job_id"], follow=follow, attempt=attempt, rank=rank, stream=stream, tail=tail, since=begin
        )
        prefix = rank is None and processes > 1
        print_records(records, prefix=prefix, raw=raw, as_json=as_json, times=timestamps)


def _download(
    client: Client, job: Job, folder: Path, attempt: int, rank: int | None, stream: str | None
) -> None:
    from suanli.cli.errors import MISUSED, CliError
    from suanli.cli.following import processes_of
    from suanli.cli.output import say

    ranks = range(processes_of(job)) if rank is None else [rank]
    files = 0
    size = 0
    try:
        for one in ranks:
            for name in ("stdout", "stderr") if stream is None else (stream,):
                target = folder / f"attempt-{attempt}" / f"{one}.{name}"
                size += client.download_log(job["job_id"], attempt, one, name, target)
                files += 1
    except OSError as error:
        raise CliError(f"{error.filename or folder}: {error.strerror}", MISUSED) from error
    say(f"{files} files in {folder}, {size} bytes of them new")


def events(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only this job's events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they happen.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Only events with a larger number.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Print what happened, oldest first."""
    import json

    from suanli.cli.following import apart
    from suanli.cli.moments import local
    from suanli.cli.output import say
    from suanli.client.types import Event

    def line(event: Event) -> str:
        if as_json:
            return json.dumps(event, ensure_ascii=False)
        about = event["job_id"] or event["node_id"] or ""
        data = json.dumps(event["data"], ensure_ascii=False) if event["data"] else ""
        return f"{event['event_seq']:>7}  {local(event['at'])}  {event['kind']:<16} {about} {data}".rstrip()

    with open_client(profile) as client:
        job_id = None if job is None else find_job(client, job)["job_id"]
        for event in apart(client.events(job_id=job_id, after=after, follow=follow)):
            say(line(event))
