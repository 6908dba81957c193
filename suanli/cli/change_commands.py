"""Changes of jobs: cancel, hold, release, requeue, set. A job may be an array's id or name: then all of it is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from suanli.cli.session import NAMED, UUID, AsJson, JobName, ProfileName, find_job, newest, open_client

if TYPE_CHECKING:
    from suanli.client.client import Client
    from suanli.client.types import Job

JobNames = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Ids, ends of ids, names; arrays' ids or names for all of their jobs, sweep[3] for one.",
    ),
]


def cancel(job: JobNames, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Ask for jobs to be stopped."""
    _act(
        "cancel",
        job,
        profile,
        as_json,
        "Asked for {name} ({job_id}) to be stopped; it is {state} now.",
        "Asked for the {jobs} jobs of array {array_id} to be stopped.",
    )


def hold(job: JobNames, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Keep jobs from starting, or from starting again."""
    _act(
        "hold",
        job,
        profile,
        as_json,
        "{name} ({job_id}) is held: it does not start before suanli release.",
        "The {jobs} jobs of array {array_id} are held.",
    )


def release(job: JobNames, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Let held jobs start."""
    _act(
        "release",
        job,
        profile,
        as_json,
        "{name} ({job_id}) is released.",
        "The {jobs} jobs of array {array_id} are released.",
    )


def requeue(job: JobNames, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Stop running jobs, with their grace for a model checkpoint, and let them wait again."""
    _act("requeue", job, profile, as_json, "{name} ({job_id}) is stopped and queued again.", None)


def _array_of(client: Client, typed: str) -> str | None:
    """The array that an id or a name stands for; None where it stands for one job, or for nothing."""
    if UUID.fullmatch(typed):
        return typed if client.jobs(array=typed, limit=1) else None
    if not NAMED.fullmatch(typed):
        return None
    named = newest(client, live=True, name=typed)
    return None if named is None else named["array_id"]


_HELD_ONCE = "{name} ({job_id}) is held: its attempt goes on, and no other starts before suanli release."
_NONE_LEFT = "No job of array {array_id} was changed: they have ended, or it was asked for before."


def _act(
    verb: str, typed: list[str], profile: str | None, as_json: bool, one: str, array: str | None
) -> None:
    """Of several jobs, what is wrong with one keeps nobody from the others: it is told, and the exit code says so."""
    from suanli.cli.errors import CliError
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import report
    from suanli.client.errors import KeyRefused, Refused

    done: list[Any] = []
    code = 0
    with open_client(profile) as client:
        for name in typed:
            try:
                told, sentence = _act_on(client, verb, name, one, array)
            except (Refused, CliError) as error:
                of_all = isinstance(error, KeyRefused) or (isinstance(error, Refused) and error.status >= 429)
                if of_all or len(typed) == 1:
                    raise
                code = max(code, report(error, as_json=as_json))
                continue
            done.append(told)
            if not as_json:
                say(sentence)
    if as_json:
        print_json(done)
    if code:
        raise typer.Exit(code)


def _act_on(client: Client, verb: str, typed: str, one: str, array: str | None) -> tuple[Any, str]:
    """What the server answered, and that in words. Raises Refused, CliError."""
    from suanli.sentences.words import said, word

    array_id = None if array is None else _array_of(client, typed)
    if array is not None and array_id is not None:
        told = {"array_id": array_id, "jobs": client.act_on_array(array_id, verb)}
        return told, word(array if told["jobs"] else _NONE_LEFT, **told)
    found: Job = getattr(client, verb)(find_job(client, typed, live=True)["job_id"])
    goes_on = verb == "hold" and found["state"] in ("allocated", "running", "stopping")
    sentence, state = _HELD_ONCE if goes_on else one, said(found["state"])
    return found, word(sentence, name=found["name"], job_id=found["job_id"], state=state)


# Where the wire names a field.
_OPTIONS = {
    "priority": "--priority",
    "time_limit_seconds": "--time-limit",
    "estimate_seconds": "--estimate",
    "deadline": "--deadline",
    "budget.amount_cny": "--budget",
}


def set_(
    job: JobName,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Such as 90m, 12h, 2d; none: no limit. Binds a running attempt, too.")
    ] = None,
    estimate: Annotated[str | None, typer.Option(help="How long it will take: 8h; none: unknown.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="A time like 2026-12-01T08:00, on this machine's clock; none.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="What all its attempts may cost, in CNY: 250.00; none: any amount.")
    ] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Change a job's priority, time limit, estimate, deadline or budget."""
    from suanli.cli.errors import MISUSED, CliError
    from suanli.cli.moments import to_rfc3339
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import naming_options, warn
    from suanli.sentences.words import word

    given = {
        "priority": priority,
        "time_limit_seconds": time_limit,
        "estimate_seconds": estimate,
        "deadline": deadline if deadline == "none" else to_rfc3339(deadline, "--deadline"),
    }
    changes: dict[str, Any] = {
        key: None if value == "none" else value for key, value in given.items() if value is not None
    }
    if budget is not None:
        changes["budget"] = None if budget == "none" else {"amount_cny": budget}
    if not changes:
        raise CliError(f"nothing to change: give one of {', '.join(_OPTIONS.values())}", MISUSED)
    with open_client(profile) as client, naming_options(_OPTIONS, as_json=as_json):
        changed = client.change(find_job(client, job, live=True)["job_id"], **changes)
    if as_json:
        print_json(changed)
        return
    say(
        word(
            "{name} ({job_id}) has revision {revision} now.",
            name=changed["name"],
            job_id=changed["job_id"],
            revision=changed["revision"],
        )
    )
    warn(changed.get("warnings", ()), options=_OPTIONS)  # a control plane of before says none
