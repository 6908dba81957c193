"""Job files: a folder named in one is meant as seen from the file, and the API takes absolute ones only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suanli.client.yaml_files import YamlFile, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from suanli.client.client import Client
    from suanli.client.types import Batch

_MOST_TOLD = 100  # wrong fields, as the server


def read_job_file(file: str) -> YamlFile:
    """The file (`-`: standard input) with `working_directory` absolute, in it and in each of its `jobs`.

    Raises what `read_yaml` raises. Anything that is no folder's name is left for the server to refuse.
    """
    read = read_yaml(file)
    beside = Path() if file == "-" else Path(file).parent
    content = _with_folder(read.content, beside)
    if isinstance(jobs := content.get("jobs"), list):
        content["jobs"] = [_with_folder(job, beside) if isinstance(job, dict) else job for job in jobs]
    return replace(read, content=content)


def jobs_of(read: YamlFile) -> tuple[list[dict[str, Any]], bool]:
    """The jobs of a file with `jobs:`, and whether all or none are meant. Raises CliError."""
    from suanli.cli.errors import MISUSED, CliError
    from suanli.cli.refusals import of_field
    from suanli.client.errors import FieldError

    items = read.content["jobs"]
    if not isinstance(items, list):
        raise CliError(
            f"{read.name}: want `jobs:` with a list of jobs, and perhaps `atomic: false` beside it", MISUSED
        )
    wrong = [
        FieldError(key, "an unknown field", "one of: atomic, jobs")
        for key in read.content
        if key not in ("jobs", "atomic")
    ]
    wrong += [
        FieldError(f"jobs[{place}]", "nothing" if item is None else repr(item), "an object with text keys")
        for place, item in enumerate(items)
        if not isinstance(item, dict)
    ]
    if wrong:
        raise CliError("\n        ".join(of_field(error, read) for error in wrong[:_MOST_TOLD]), MISUSED)
    return items, read.content.get("atomic", True)


def answer_of_batch(
    read: YamlFile,
    profile: str | None,
    as_json: bool,
    send: Callable[[Client, list[dict[str, Any]], bool], Batch],
) -> Batch:
    """What the server says of a file with `jobs:`, printed: what is wrong with each and what can hardly be meant, with
    the file's lines. `send` takes its jobs, and whether all or none are meant. Raises CliError.
    """
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import of_file, of_item, warn
    from suanli.cli.session import open_client
    from suanli.client.errors import Refused

    items, atomic = jobs_of(read)
    with open_client(profile) as client:
        try:
            batch = send(client, items, atomic)
        except Refused as error:
            raise of_file(error, read, as_json=as_json) from None
    if as_json:
        print_json(batch)
        return batch
    for outcome in batch["outcomes"]:
        if outcome["refused"] is not None:
            say(of_item(outcome["refused"], read))
        warn(outcome.get("warnings", ()), read)  # a control plane of before says none
    return batch


def _with_folder(spec: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    folder = spec.get("working_directory")
    if not isinstance(folder, str) or not folder or "\0" in folder:
        return dict(spec)
    return {**spec, "working_directory": str((beside / folder).resolve())}
