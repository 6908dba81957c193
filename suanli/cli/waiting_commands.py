"""Why and when: explain, validate, queue."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.session import (
    AsJson,
    JobName,
    ProfileName,
    find_job,
    label_of,
    open_client,
    say_which,
    short_id,
)

if TYPE_CHECKING:
    from suanli.client.types import Reason, Starts, Waiting
    from suanli.client.yaml_files import YamlFile


def explain(job: JobName, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Say why a job waits, runs where it runs, or ended."""
    from suanli.cli.moments import with_local_times
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        found = find_job(client, job)
        say_which(found, job)
        why = client.explain(found["job_id"])
    if as_json:
        print_json(why)
        return
    say(with_local_times(why["sentence"]))
    for sentence in sentences_of(why["reasons"]):
        if sentence not in why["sentence"]:
            say(f"  - {with_local_times(sentence)}")
    _say_change(why["counterfactual"])
    _say_start(why["starts"])
    for sentence in why["account"]:
        say(with_local_times(sentence))


_STILL_PLANNING = (
    "the server still plans; for the first plan of a large cluster it may make machine code (some 20 s, once)"
)


def validate(
    file: Annotated[str, typer.Argument(help="Job file (YAML or JSON); - reads standard input.")],
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Try a job without submitting it: would it fit, on what, when and at what price?

    Of a file with `jobs:`: what would be refused.
    """
    from suanli.cli.job_files import read_job_file
    from suanli.cli.moments import local, with_local_times, zone_name
    from suanli.cli.output import print_json, print_table, say, saying_later
    from suanli.cli.refusals import of_file, warn
    from suanli.client.errors import Refused
    from suanli.sentences.words import word

    read = read_job_file(file)
    if "jobs" in read.content:
        _validate_many(read, profile, as_json)
        return
    with open_client(profile) as client:
        try:
            with nullcontext() if as_json else saying_later(f"suanli: {_STILL_PLANNING}"):
                trial = client.validate(read.content)
        except Refused as error:
            raise of_file(error, read, as_json=as_json) from None
    if as_json:
        print_json(trial)
        return
    warn(trial.get("warnings", ()), read)  # a control plane of before says none
    say(word("{file} is a valid job.", file=read.name))
    if trial["starts_now"]:
        said = "It would start now on {model} in pool {pool}."
        say(word(said, model=trial["device_model"], pool=trial["pool"]))
    else:
        say(word("It would wait at place {place} of its queue:", place=trial["position"]))
        for sentence in sentences_of(trial["reasons"]):
            say(f"  - {with_local_times(sentence)}")
        _say_change(trial["counterfactual"])
        if trial["starts_by"]:
            say(
                word(
                    "As things stand it starts by {moment} at the latest; times in {zone}.",
                    moment=local(trial["starts_by"]),
                    zone=zone_name(),
                )
            )
        _say_start(trial["starts"])
    rows = [
        [p["model"], p["device_hour_cny"], p["gang_hour_cny"], p["estimate_cny"], p["at_most_cny"]]
        for p in trial["prices"]
    ]
    print_table(
        ["MODEL", "CNY/DEVICE-HOUR", "CNY/HOUR", "ESTIMATE", "AT MOST"],
        [["-" if cell is None else cell for cell in row] for row in rows],
        right=[1, 2, 3, 4],
    )


def _validate_many(read: YamlFile, profile: str | None, as_json: bool) -> None:
    """A file with `jobs:`: each is checked as `submit` would, beside the others of it."""
    from suanli.cli.job_files import answer_of_batch
    from suanli.cli.output import note, say
    from suanli.sentences.words import word

    batch = answer_of_batch(
        read, profile, as_json, lambda client, items, atomic: client.validate_many(items, atomic=atomic)
    )
    if not as_json:
        if batch["refused"]:
            said = "Of {items} entries of {file}, {refused} would be refused."
            say(word(said, items=len(batch["outcomes"]), file=read.name, refused=batch["refused"]))
        else:
            say(word("{file} is a valid batch of {jobs} jobs.", file=read.name, jobs=batch["submitted"]))
            note(word("When a job starts, and at what price: suanli validate of a file with that job alone."))
    if batch["refused"]:
        raise typer.Exit(1)


def sentences_of(reasons: list[Reason]) -> list[str]:
    """Each once: sizes of an elastic job may have one sentence for several numbers."""
    return list(dict.fromkeys(reason["sentence"] for reason in reasons))


def _say_change(counterfactual: str | None) -> None:
    """What would let the job run: a change with which it runs now, when it does, or what has to happen."""
    from suanli.cli.moments import with_local_times
    from suanli.cli.output import say
    from suanli.sentences.words import said, word

    change = with_local_times(counterfactual or "")
    if change.startswith(("now", "when ")):
        say(f"It would run {change}")
    elif change:
        say(word("It would run if {change}", change=said(change)))


def _say_start(starts: Starts | None) -> None:
    from suanli.cli.moments import local, zone_name
    from suanli.cli.output import say
    from suanli.sentences.words import word

    if starts:
        said = (
            "It starts between {earliest} and {latest} (80 %), most likely about {expected}; times in {zone}."
        )
        say(word(said, zone=zone_name(), **{name: local(str(moment)) for name, moment in starts.items()}))


def queue(
    name: Annotated[
        str, typer.Argument(metavar="QUEUE", help="The queue: its name, or FIRM/NAME.")
    ] = "default",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="Most jobs shown.")] = 50,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Show who waits in a queue, in which order and why."""
    from suanli.cli.device_counts import asked
    from suanli.cli.moments import ago, with_local_times, zone_name
    from suanli.cli.output import print_json, print_table
    from suanli.sentences.words import word

    with open_client(profile) as client:
        waiting = client.waiting(name, limit=limit)
    if as_json:
        print_json(waiting)
        return
    # Each queue by itself: of a name alone, an operator is shown every firm's.
    waiting.sort(key=_firm_of)
    rows: list[list[object]] = [
        [
            "-" if one["position"] is None else one["position"],
            short_id(one["job_id"]),
            label_of(one["name"], one["array_index"]),
            one["submitted_by"],
            one["priority"],
            f"{asked(one['devices'], one['share_ppm'])} {' | '.join(one['models'])}",
            ago(one["submitted_at"]),
            _between(one["starts"]),
            with_local_times(one["why"]),
        ]
        for one in waiting
    ]
    told = f"STARTS (80 %), {zone_name()}"
    columns = ["PLACE", "JOB", "NAME", "BY", "PRIORITY", "DEVICES", "AGE", told, "WHY"]
    if len({_firm_of(one) for one in waiting}) > 1:
        columns.insert(0, "FIRM")
        for row, one in zip(rows, waiting, strict=True):
            row.insert(0, _firm_of(one))
    print_table(columns, rows, empty=word("Nothing waits."))


def _firm_of(one: Waiting) -> str:
    return one.get("firm", "")  # a control plane of before does not say it


def _between(starts: Starts | None) -> str:
    """`2026-11-27 20:31 - 2026-11-28 05:28` on this machine's clock; `-` where nobody knows."""
    from suanli.cli.moments import local

    if starts is None:
        return "-"
    return " - ".join(local(moment).rpartition(":")[0] for moment in (starts["earliest"], starts["latest"]))
