"""Jobs: submit, jobs, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from suanli.cli.session import (
    AsJson,
    JobName,
    ProfileName,
    find_array,
    find_job,
    label_of,
    open_client,
    say_which,
    short_id,
)

if TYPE_CHECKING:
    from rich.table import Table

    from suanli.client.client import Client
    from suanli.client.surroundings import JobCost, Notification
    from suanli.client.types import Attempt, Job
    from suanli.client.yaml_files import YamlFile


def submit(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    file: Annotated[str, typer.Argument(help="Job file (YAML or JSON); - reads standard input.")],
    name: Annotated[str | None, typer.Option(help="Name of the job, instead of the file's.")] = None,
    project: Annotated[str | None, typer.Option(help="Project, instead of the file's.")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue, instead of the file's.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high, instead of the file's.")] = None,
    upload: Annotated[
        str | None,
        typer.Option(help="Folder to send along; the job starts in it. .suanliignore says what stays here."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what happens until the job has ended.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    from pathlib import Path

    from suanli.cli.content_commands import send_inputs
    from suanli.cli.job_files import read_job_file
    from suanli.cli.output import note, print_json, say
    from suanli.cli.refusals import of_file, warn
    from suanli.client.errors import Refused
    from suanli.sentences.words import word

    read = read_job_file(file)
    if "jobs" in read.content:
        _submit_many(read, {"project": project, "queue": queue, "priority": priority}, profile, as_json)
        return
    given = {"name": name, "project": project, "queue": queue, "priority": priority}
    spec = {**read.content, **{key: value for key, value in given.items() if value is not None}}
    with open_client(profile) as client:
        spec = send_inputs(client, spec, upload, Path(file).parent if file != "-" else Path())
        try:
            job = client.submit(spec)
        except Refused as error:
            raise of_file(error, read, as_json=as_json) from None
        if not as_json:
            warn(job.get("warnings", ()), read)  # a control plane of before says none
        if not follow:
            if as_json:
                print_json(job)
            elif job["array_id"] is not None:
                jobs = job["spec"]["array"]["count"]
                said = "Submitted array {name} of {jobs} jobs: {array_id}"
                say(word(said, name=job["name"], jobs=jobs, array_id=job["array_id"]))
            else:
                say(word("Submitted {name}: {job_id}", name=job["name"], job_id=job["job_id"]))
                note(word("Follow it with: suanli logs -f {name}", name=job["name"]))
            return
        from suanli.cli.following import follow_job

        raise typer.Exit(follow_job(client, job, as_json=as_json))


def _submit_many(read: YamlFile, given: dict[str, str | None], profile: str | None, as_json: bool) -> None:
    """A file with `jobs:`; what is typed goes for every job of it."""
    from suanli.cli.job_files import answer_of_batch
    from suanli.cli.output import say
    from suanli.sentences.words import word

    typed = {key: value for key, value in given.items() if value is not None}
    batch = answer_of_batch(
        read,
        profile,
        as_json,
        lambda client, items, atomic: client.submit_many(
            [{**item, **typed} for item in items], atomic=atomic
        ),
    )
    if not as_json:
        say(word("Submitted {jobs} jobs.", jobs=batch["submitted"]))
    if batch["refused"]:
        raise typer.Exit(1)


def jobs(  # noqa: PLR0913, PLR0917 - each is an option
    state: Annotated[
        list[str] | None, typer.Option(help="Only jobs in this state; also live, ended. May repeat.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only jobs of this project.")] = None,
    queue: Annotated[
        str | None, typer.Option(help="Only jobs of this queue: its name, or FIRM/NAME.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Only jobs with NAME=VALUE. May repeat.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Only jobs of this person or token.")] = None,
    array: Annotated[str | None, typer.Option(help="Only jobs of this array: its id or name.")] = None,
    sort: Annotated[
        str, typer.Option(help="submitted, name; with a minus the other way round.")
    ] = "-submitted",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Most jobs shown.")] = 20,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on: show them anew when something has happened.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from suanli.cli.output import note, print_json, print_table
    from suanli.cli.refusals import naming_options
    from suanli.cli.watching import watch_jobs
    from suanli.sentences.words import word

    with naming_options({"query submitted_by": "--by"}, as_json=as_json), open_client(profile) as client:
        array_id = None if array is None else find_array(client, array)

        def read(most: int = limit) -> list[Job]:
            return client.jobs(
                state=state,
                limit=most,
                project=project,
                queue=queue,
                label=label,
                submitted_by=by,
                array=array_id,
                sort=sort,
            )

        if watch:
            watch_jobs(client, read, _watched_table, as_json=as_json)
            return
        found = read(limit + 1)  # one more, to know whether there is one
    shown = found[:limit]
    if as_json:
        print_json(shown)
        return
    columns, rows = _job_table(shown)
    print_table(columns, rows, empty=word("No jobs."))
    if len(found) > limit:
        note(word("There are more than these {number} jobs: --limit shows more.", number=limit))


def _watched_table(found: list[Job]) -> Table:
    from suanli.cli.output import make_table
    from suanli.cli.watching import LONGEST_CELL

    return make_table(*_job_table(found), longest=LONGEST_CELL)


def _job_table(found: list[Job]) -> tuple[list[str], list[list[object]]]:
    from suanli.cli.moments import ago

    columns = ["JOB", "NAME", "STATE", "DEVICES", "PROGRESS", "AGE"]
    rows: list[list[object]] = [
        [
            short_id(job["job_id"]),
            label_of(job["name"], job["array_index"]),
            "held" if job["held"] and job["state"] == "queued" else job["state"],
            devices(job),
            progress(job),
            ago(job["submitted_at"]),
        ]
        for job in found
    ]
    if len({job["firm"] for job in found}) > 1:
        columns.insert(1, "FIRM")
        for row, job in zip(rows, found, strict=True):
            row.insert(1, job["firm"])
    return columns, rows


def devices(job: Job) -> str:
    """`8 ascend-910b3`, `0.25 ascend-910b3`; before the start the models that it may get."""
    from suanli.cli.device_counts import asked, share_ppm

    return f"{asked(job['devices'], share_ppm(job['spec']))} {_models(job)}"


def _models(job: Job) -> str:
    from suanli.sentences.words import said

    models = [job["device_model"]] if job["device_model"] else [v["model"] for v in job["spec"]["variants"]]
    shown = " | ".join(models)
    return said(f"{shown} (simulated)") if job.get("simulated") else shown


def progress(job: Job) -> str:
    """`120/1000 12% loss 1.234` of the job's own step report; the reason where it did not end well."""
    from suanli.sentences.words import said

    report = job["step_report"]
    parts: list[str] = []
    if report and report.get("step") is not None:
        step, of = report["step"], report.get("of")
        parts.append(f"{step}/{of} {100 * (step or 0) // of}%" if of else said(f"step {step}"))
        loss = report.get("loss")
        if loss is not None:
            parts.append(said(f"loss {loss:.4g}"))
    if job["state"] == "failed":
        code = job["exit_code"]
        parts.append(" ".join(said(p) for p in (job["reason"], "" if code is None else f"exit {code}") if p))
    elif job["cancel_requested"] and job["state"] not in ("cancelled", "succeeded"):
        parts.append(said("cancel requested"))
    return " ".join(parts)


def show(
    job: JobName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens until the job has ended.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Also everything that happened to it.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Show a job, its attempts and its progress."""
    from suanli.cli.watching import follow_life

    with open_client(profile) as client:
        found = find_job(client, job)
        say_which(found, job)
        if not follow:
            _print_job(client, found, as_json=as_json, history=history)
            return
        if not as_json:
            _print_job(client, found, as_json=False)
        ended = follow_life(client, found, (happened, progress), quiet=as_json)
        _print_job(client, ended, as_json=as_json, history=history)
    raise typer.Exit(0 if ended["state"] == "succeeded" else 1)


def _print_job(client: Client, job: Job, *, as_json: bool, history: bool = False) -> None:
    from suanli.cli.device_counts import share_ppm
    from suanli.cli.moments import with_local_times
    from suanli.cli.output import print_fields, print_json, print_table, say
    from suanli.cli.refusals import warn

    attempts = client.attempts(job["job_id"])
    cost = client.cost(job["job_id"])
    events = list(client.events(job_id=job["job_id"], follow=False)) if history else []
    told = client.notifications(job["job_id"]) if job["spec"]["notification"] else []
    if as_json:
        more = {"notifications": told} if told else {}
        print_json(
            {**job, "attempts": attempts, "cost": cost, **more, **({"events": events} if history else {})}
        )
        return
    print_fields([*_fields(job), *_cost_fields(cost)])
    warn(job.get("warnings", ()))
    if job["state"] == "queued":
        why = client.explain(job["job_id"])
        for sentence in (f"\n{why['sentence']}", *why["account"]):
            say(with_local_times(sentence))
    part = share_ppm(job["spec"])
    rows = [row for attempt in attempts for row in _task_rows(attempt, part)]
    if rows:
        say("")
        print_table(["ATTEMPT", "STATE", "TASK", "NODE", "DEVICES", "PHASE", "EXIT", "DETAIL"], rows)
    if told:
        say("")
        print_table(["WEBHOOK", "TOLD", "STATE", "ATTEMPTS", "PROBLEM"], [_told(one) for one in told])
    if events:
        from suanli.cli.moments import local

        say("")
        rows = [[local(event["at"]), event["kind"], happened(event["data"])] for event in events]
        print_table(["TIME", "EVENT", "DETAIL"], rows)


_BASES = {
    "progress": "by its progress",
    "estimate": "by its estimate",
    "time_limit": "at most, by its time limit",
}


def _cost_fields(cost: JobCost) -> list[tuple[str, object]]:
    from suanli.cli.usage_tables import about, fen_of

    to_end = cost["to_end_cny"]
    return [
        (
            "Cost",
            f"{fen_of(cost['held_cny'], up=True)} CNY at most, {about(cost['charged_cny'])} charged so far",
        ),
        (
            "To its end",
            f"{fen_of(to_end, up=True)} CNY more, {_BASES[cost['basis']]}"
            if to_end and cost["basis"]
            else None,
        ),
        ("Budget", f"{fen_of(cost['budget_cny'])} CNY" if cost["budget_cny"] else None),
    ]


def _told(one: Notification) -> list[object]:
    from suanli.cli.moments import local

    state = one["state"].replace("_", " ")
    if one["next_attempt_at"] and one["attempts"]:
        state += f" until {local(one['next_attempt_at'])}"
    return [one["id"], one["moment"], state, one["attempts"], one["problem"] or ""]


def happened(data: dict[str, Any]) -> str:
    """What an event says; a step report as `step 14 of 120, loss 3.226`."""
    from suanli.sentences.words import listed

    if data.get("step") is None or "loss_micros" not in data:
        return _said(data)
    of, loss = data.get("of"), data["loss_micros"]
    step = f"step {data['step']} of {of}" if of else f"step {data['step']}"
    parts = [step, "" if loss is None else f"loss {loss / 1e6:.4g}", data.get("model_checkpoint") or ""]
    return listed(part for part in parts if part)


def _said(data: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in data.items()
        if value is not None
    )


def _fields(job: Job) -> list[tuple[str, object]]:
    from suanli.cli.device_counts import asked, share_ppm
    from suanli.cli.moments import local, zone_name
    from suanli.sentences.words import word

    report: dict[str, Any] = dict(job["step_report"] or {})
    gang = job["spec"]["gang"]
    tasks = gang["devices"] // gang["devices_per_node"]
    per_node = asked(gang["devices_per_node"], share_ppm(job["spec"]))
    return [
        ("Job", job["job_id"]),
        ("Name", job["name"]),
        ("State", job["state"] + (" (cancel requested)" if job["cancel_requested"] else "")),
        ("Reason", job["reason"]),
        ("Detail", job["detail"]),
        ("Exit code", job["exit_code"]),
        ("Firm, project", word("{firm}, {project}", firm=job["firm"], project=job["project"])),
        ("Queue", f"{job['queue']}, priority {job['spec']['priority']}"),
        ("Gang", f"{tasks} x {per_node} devices"),
        ("Device model", _models(job)),
        ("Attempt", job["attempt"] or None),
        ("Progress", progress(job) if report else None),
        ("Tokens", report.get("tokens")),
        ("Model checkpoint", report.get("model_checkpoint")),
        (
            "Submitted",
            word("{moment} by {who}", moment=local(job["submitted_at"]), who=job["submitted_by"]),
        ),
        ("Started", local(job["started_at"])),
        ("Ended", local(job["ended_at"])),
        ("Times in", zone_name()),
    ]


def _task_rows(attempt: Attempt, share_ppm: int) -> list[list[object]]:
    from suanli.cli.device_counts import WHOLE_PPM, amount

    part = "" if share_ppm == WHOLE_PPM else f" ({amount(share_ppm)})"
    state = attempt["outcome"] or attempt["state"]
    return [
        [
            attempt["attempt"],
            state,
            task["rank"],
            task["node"],
            f"{attempt['device_model']} {','.join(map(str, task['devices']))}{part}",
            "reserved" if task["goal"] == "reserve" else task["phase"],
            "" if task["exit_code"] is None else task["exit_code"],
            task["detail"] or task["end_reason"] or "",
        ]
        for task in attempt["tasks"]
    ]
