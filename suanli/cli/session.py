"""From options to a client; from what was typed to a job."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.errors import CliError

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.profiles import Profile
    from suanli.client.types import Job

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs; -o yaml: YAML.")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="Profile to use, of those of `suanli login`.", metavar="NAME")
]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, the end of its id, or its name; or FIRM/NAME.")
]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAMED = re.compile(r"([a-z0-9._-]{1,100}/)?[a-z0-9._-]{1,100}")
"""A job by its name, or (operators) with its firm."""
_MEMBER = re.compile(rf"({NAMED.pattern})\[(\d{{1,6}})\]")
_MOST_OF_ARRAY = 10_000
SHORT_ID = 12
_LOOKED_AT = 500
# Of a name that may be meant: one letter of four may differ.
_LEAST_ALIKE = 0.72


def open_client(profile: str | None = None) -> Client:
    """A client for the server and key that are set. Warns where the key would travel in the clear."""
    from suanli.cli.output import note
    from suanli.client.client import Client
    from suanli.client.profiles import resolve
    from suanli.client.transport import is_loopback
    from suanli.sentences.words import is_chinese

    chosen = resolve(os.environ, profile)
    if chosen.server.startswith("http://") and not is_loopback(chosen.server):
        note(f"suanli: warning: {chosen.server} is not HTTPS; the API key travels in the clear")
    return Client(chosen.server, chosen.bearer, language="zh" if is_chinese() else "en")


def chosen_server(profile: str | None = None) -> Profile:
    """The server and the key that are set, for what does not go through the client."""
    from suanli.client.profiles import resolve

    return resolve(os.environ, profile)


def find_job(client: Client, typed: str, *, live: bool = False) -> Job:
    """The job that somebody means: an id, the end of one, a name (see `newest`), or `sweep[3]` of an array.

    `live`: for verbs that act; of a name the newest job that has not ended, where there is one.
    """
    if UUID.fullmatch(typed):
        return client.job(typed)
    member = _MEMBER.fullmatch(typed)
    if member is not None:
        return _of_array(client, member[1], int(member[3]), live=live)
    if NAMED.fullmatch(typed):
        named = newest(client, live=live, name=typed)
        if named is not None:
            return named
    if re.fullmatch(r"[0-9a-f-]{4,36}", typed):
        ending = [job for job in client.jobs(limit=_LOOKED_AT) if job["job_id"].endswith(typed)]
        if len(ending) == 1:
            return ending[0]
        if ending:
            raise CliError(f"{len(ending)} jobs end in {typed}: type more of the id")
    near = _near(typed, client.jobs(limit=_LOOKED_AT))
    raise CliError(f"there is no job {typed}{near}")


def newest(client: Client, *, live: bool, **wanted: str) -> Job | None:
    """The newest of the jobs that are wanted; with `live` the newest that has not ended, where there is one.

    Raises CliError for a name that jobs of several firms have: whoever sees them all says which firm's is meant.
    """
    for states in ("live", None) if live else (None,):
        found = next(iter(client.jobs(state=states, limit=1, **wanted)), None)
        if found is not None:
            name = wanted.get("name", "/")
            if "/" not in name and client.whoami()["firm"] is None:
                same = client.jobs(state=states, limit=_LOOKED_AT, **wanted)
                _require_one_firm(name, sorted({job["firm"] for job in same}))
            return found
    return None


def _require_one_firm(name: str, firms: list[str]) -> None:
    if len(firms) > 1:
        meant = ", ".join(f"{firm}/{name}" for firm in firms)
        raise CliError(f"jobs of {len(firms)} firms are called {name}: type one of {meant}, or an id")


def _near(typed: str, jobs: list[Job]) -> str:
    """A job whose name is near what was typed; where a firm was typed, too, with the firm that has it."""
    from difflib import get_close_matches

    firm, _, name = typed.rpartition("/")
    near = get_close_matches(name, list(dict.fromkeys(job["name"] for job in jobs)), 3, _LEAST_ALIKE)
    if firm:
        named = list(dict.fromkeys(f"{job['firm']}/{job['name']}" for job in jobs if job["name"] in near))
        near = get_close_matches(typed, named, 1, 0.0)
    return f"; did you mean {near[0]}?" if near else " (suanli jobs lists them)"


def _of_array(client: Client, name: str, index: int, *, live: bool) -> Job:
    """One job of the newest array of a name."""
    for job in client.jobs(array=find_array(client, name, live=live), limit=_MOST_OF_ARRAY):
        if job["array_index"] == index:
            return job
    raise CliError(f"array {name} has no job [{index}]: they are counted from 0")


def find_array(client: Client, typed: str, *, live: bool = False) -> str:
    """The id of the array that somebody means: by its id, or by its name (the newest of it, as `find_job` has it)."""
    job = newest(client, live=live, **{"array" if UUID.fullmatch(typed) else "name": typed})
    array_id = None if job is None else job["array_id"]
    if array_id is None:
        near = _near(typed, [job for job in client.jobs(limit=_LOOKED_AT) if job["array_id"] is not None])
        raise CliError(f"there is no array {typed}{near}")
    return array_id


def say_which(job: Job, typed: str) -> None:
    """Of an array's name or id one job answers: say which, beside the answer."""
    from suanli.cli.output import note
    from suanli.sentences.words import word

    name = typed.rpartition("/")[2]
    if job["array_id"] is None or _MEMBER.fullmatch(typed) or job["name"] != name != job["array_id"]:
        return
    sentence = (
        "{name} is an array of {jobs} jobs; this is {label} of it (all: suanli jobs --array {array_id})."
    )
    label = label_of(job["name"], job["array_index"])
    many = job["spec"]["array"]["count"]
    note(word(sentence, name=job["name"], jobs=many, label=label, array_id=job["array_id"]))


def label_of(name: str, array_index: int | None) -> str:
    """`sweep[3]` for a job of an array, as `find_job` takes it."""
    return name if array_index is None else f"{name}[{array_index}]"


def short_id(job_id: str) -> str:
    """The end of an id: its last part is random, its beginning is the time."""
    return job_id[-SHORT_ID:]


def ask_hidden(what: str, *, new: bool = False) -> str:
    """What is typed at the terminal and not shown; a new one twice. Asked beside the result, on standard error."""
    from suanli.cli.output import note
    from suanli.sentences.words import word

    def ask(text: str) -> str:
        return str(typer.prompt(word(text), hide_input=True, err=True))

    while True:
        typed = ask(what)
        if not new or ask("Repeat for confirmation") == typed:
            return typed
        note("suanli: the two are not the same: type both again")
