"""Folders: what is sent along with a job, and what is fetched back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suanli.cli.errors import MISUSED, CliError
from suanli.cli.output import colours
from suanli.cli.session import AsJson, JobName, ProfileName, find_job, open_client
from suanli.content.sizes import told_size
from suanli.sentences.words import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from suanli.client.client import Client
    from suanli.client.content import Progress
    from suanli.client.types import Job


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True, color_system=colours()), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(said(what), total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show


def send_inputs(client: Client, spec: Mapping[str, Any], upload: str | None, beside: Path) -> dict[str, Any]:
    """Send `--upload` and every input that names a local folder (relative to the job file), and name their digests."""
    inputs = spec.get("inputs") or []
    if not isinstance(inputs, list):
        return dict(spec)  # the server says what is wrong with it
    if upload is not None:
        inputs = [{"path": ".", "folder": str(Path(upload).absolute())}, *inputs]
    made = []
    for item in inputs:
        if not (isinstance(item, dict) and isinstance(item.get("folder"), str)):
            made.append(item)
            continue
        rest = {key: value for key, value in item.items() if key != "folder"}
        made.append({**rest, "digest": _send(client, beside / item["folder"])})
    return {**spec, "inputs": made} if made else dict(spec)


def _send(client: Client, folder: Path) -> str:
    from suanli.cli.output import note

    with progress_bar() as show:
        try:
            sent = client.send_folder(folder, show)
        except OSError as error:
            raise CliError(f"{error.filename or folder}: {error.strerror}", MISUSED) from error
    note(
        f"Sent {folder}: {sent.files} files, {told_size(sent.bytes)}, of which {told_size(sent.sent_bytes)} were new"
    )
    return sent.digest


def fetch(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    job: JobName,
    path: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH...]", help="Only these files or folders of the results."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="Folder to write to; without it one named as the job.")
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="This attempt instead of the newest.")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Only this task rank.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show what there is, and fetch nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what a job left in SUANLI_OUTPUT_DIR and in its outputs. Run again, it fetches the rest only."""
    from suanli.cli.output import note, print_json, print_table, say
    from suanli.client.content import place_in

    with open_client(profile) as client:
        found = find_job(client, job)
        results = [r for r in client.results(found["job_id"]) if rank in (None, r["rank"])]
        newest = attempt or max((r["attempt"] for r in results), default=1)
        results = [r for r in results if r["attempt"] == newest]
        if not results:
            raise CliError(_why_nothing(found, newest))
        listed = [
            {**file, "attempt": r["attempt"], "rank": r["rank"]}
            for r in results
            if r["digest"] is not None
            for file in client.result_files(found["job_id"], r["attempt"], r["rank"])
            if not path
            or any(file["path"] == p or file["path"].startswith(p.rstrip("/") + "/") for p in path)
        ]
        for result in results:
            if result["problem"]:
                note(f"suanli: task {result['rank']}: {result['problem']}")
        if only_list:
            rows = [[f["rank"], f["path"], told_size(f["size"]), f["sha256"]] for f in listed]
            print_json(listed) if as_json else print_table(
                ["TASK", "PATH", "SIZE", "SHA-256"], rows, right=[2]
            )
            return
        if not listed:
            raise CliError("the results hold no such file (suanli fetch --list shows what there is)")
        folder = to or place_in(Path(), found["name"])
        with progress_bar() as show:
            _fetch_all(client, found["job_id"], listed, folder, show, force=force)
    if as_json:
        print_json({"folder": str(folder), "files": listed})
        return
    say(f"{len(listed)} files, {told_size(sum(f['size'] for f in listed))}, in {folder}")


def _fetch_all(
    client: Client, job_id: str, files: list[dict[str, Any]], folder: Path, show: Progress, *, force: bool
) -> None:
    from suanli.client.content import place_in

    several = len({file["rank"] for file in files}) > 1
    total = sum(file["size"] for file in files)
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        show("fetching", done, total)

    fetched: Callable[..., bool] = client.fetch_result
    for file in files:
        target = place_in(folder / (f"rank-{file['rank']}" if several else ""), file["path"])
        try:
            fetched(job_id, file["attempt"], file["rank"], file, target, more, replace=force)
        except FileExistsError:
            raise CliError(f"{target} exists: give another --to, or --force", MISUSED) from None
        except OSError as error:
            raise CliError(f"{error.filename or target}: {error.strerror}", MISUSED) from error


def _why_nothing(job: Job, attempt: int) -> str:
    from suanli.client.types import FINAL_STATES

    name, state = job["name"], job["state"]
    if state in FINAL_STATES:
        return f"{name} left no files in attempt {attempt}, or they are kept no longer"
    return f"{name} has no results of attempt {attempt} yet: it is {state}"
