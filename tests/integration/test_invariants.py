"""`scheduler check` finds what it says it finds: for every rule a database that breaks it, and only it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from scheduler.storage.engine import Database, conninfo
from scheduler.storage.invariants import RULES, SHOWN, Finding, find_exceptions
from scheduler.storage.segments import pack_segments, unpack_segments
from suanli.evidence.windows import SaltedSegment
from tests.builders.database import DatabaseServer, DatabaseUrls, as_superuser

OpenDatabase = Callable[[str], Database]
Row = tuple[str, dict[str, Any]]

SPEC = {"gang": {"devices": 2, "devices_per_node": 1}}
IN_USE = {
    "device": {"device_id": "d-n1"},
    "observed": "in_use",
    "start_ms": 0,
    "end_ms": 1000,
    "share_ppm": 1_000_000,
}


def firm() -> list[Row]:
    return [("firms", {"firm_id": "f", "name": "f", "title": "F", "uid": 400_000})]


def nodes() -> list[Row]:
    """Two nodes with a device each, known to the controller."""
    rows: list[Row] = [("pools", {"name": "p"})]
    for n in ("n1", "n2"):
        rows += [
            ("nodes", {"node_id": n, "name": n, "pool": "p", "metering_from_ms": 0}),
            ("node_states", {"node_id": n, "state": "connected", "generation": 1, "leader_term": 1, "changed_ms": 0}),
            (
                "devices",
                {
                    "device_id": f"d-{n}", "node_id": n, "index": 0, "vendor": "v", "model": "m", "driver": "simulated",
                    "simulated": True, "memory_bytes": 1, "fast_link_group": 0, "claims": {},
                },
            ),
        ]  # fmt: skip
    return rows


def job(state: str = "running", attempt: int = 1) -> list[Row]:
    return [
        (
            "jobs",
            {
                "firm_id": "f", "job_id": "j", "project": "p", "queue": "q", "name": "n", "spec": SPEC,
                "submitted_by": "u", "submitted_ms": 0,
            },
        ),
        (
            "job_states",
            {"firm_id": "f", "job_id": "j", "state": state, "version": 1, "attempt": attempt, "changed_ms": 0},
        ),
    ]  # fmt: skip


def attempt(number: int = 1, state: str = "running") -> Row:
    return (
        "attempts",
        {
            "firm_id": "f", "job_id": "j", "attempt": number, "variant": 0, "device_model": "m", "state": state,
            "why_here": {}, "allocated_ms": 0,
        },
    )  # fmt: skip


def revision(number: int) -> Row:
    return (
        "job_revisions",
        {"firm_id": "f", "job_id": "j", "revision": number, "spec": SPEC, "revised_by": "u", "revised_ms": 0},
    )


def array_job(index: int, state: str) -> list[Row]:
    """A job of an array of three, one at a time; where it goes on, with an attempt that is whole."""
    name = f"j{index}"
    spec = SPEC | {"gang": {"devices": 1, "devices_per_node": 1}, "array": {"count": 3, "concurrency": 1}}
    goes_on = state in {"allocated", "running"}
    rows = changed(
        job(state, attempt=int(goes_on)), "jobs", job_id=name, array_id="a", array_index=index, spec=spec
    )
    rows = changed(rows, "job_states", job_id=name)
    if goes_on:
        told = (
            "attempts",
            attempt(state="preparing" if state == "allocated" else "running")[1] | {"job_id": name},
        )
        tasks = changed(allocation(index), "allocations", job_id=name, rank=0)
        rows += [told, *tasks]
    return rows


def allocation(rank: int, *, live: bool = True, device_live: bool | None = None, **more: Any) -> list[Row]:
    node = f"n{rank + 1}"
    key = {"firm_id": "f", "allocation_id": f"a{rank}"}
    return [
        (
            "allocations",
            {
                **key, "job_id": "j", "attempt": 1, "rank": rank, "node_id": node, "goal": "run", "live": live,
                "granted_ms": 0, **more,
            },
        ),
        (
            "allocation_devices",
            {
                **key, "device_id": f"d-{node}", "share_ppm": 1_000_000,
                "live": live if device_live is None else device_live,
            },
        ),
    ]  # fmt: skip


def running() -> list[Row]:
    """A healthy gang of two."""
    return [*firm(), *nodes(), *job(), attempt(), *allocation(0), *allocation(1)]


def entry(index: int, kind: str = "usage_window", **more: Any) -> Row:
    plain = {
        "log_index": index, "type": kind, "producer_key_id": "k", "leaf": b"", "salt": b"", "payload": b"",
        "fact": f"fact/{index}",
    }  # fmt: skip
    return "log_entries", plain | more


def window(index: int, seq: int, start_ms: int, end_ms: int, *told: dict[str, Any]) -> Row:
    packed = pack_segments([SaltedSegment(b"\0" * 32, json.dumps(one).encode()) for one in told])
    return entry(index, seq=seq, start_ms=start_ms, end_ms=end_ms, node_id="n1", segments=packed)


def without_pieces(rows: list[Row]) -> list[Row]:
    """As a ledger of before logged it: segments in rows of their own."""
    pieces: list[Row] = []
    for table, row in rows:
        if table == "log_entries" and row.get("segments"):
            pieces += [
                (
                    "window_segments",
                    {
                        "log_index": row["log_index"],
                        "n": n,
                        "device_id": "d-n1",
                        "salt": s.salt,
                        "body": s.body,
                    },
                )
                for n, s in enumerate(unpack_segments(row["segments"]))
            ]
    return [(table, {k: v for k, v in row.items() if k != "segments"}) for table, row in rows] + pieces


def key(stored: int) -> Row:
    return (
        "agent_keys",
        {"key_id": "k", "node_id": "n1", "public_key": b"", "certificate_pem": b"", "stored_seq": stored},
    )


def metered(told: dict[str, Any] = IN_USE) -> list[Row]:
    """One window of one second, whole in use."""
    return [*firm(), *nodes(), key(1), window(0, 1, 0, 1000, told)]


def charge(name: str = "c", **more: Any) -> Row:
    plain = {
        "charge_id": name, "firm_id": "f", "job_id": "j", "allocation_id": "a0", "device_id": "d-n1",
        "device_model": "m", "log_index": 0, "n": 0, "from_ms": 0, "to_ms": 1000, "billable_ms": 1000,
        "live_ms": 900, "worked_ms": 800, "share_ppm": 1_000_000, "amount_fen_numerator": 1,
        "amount_fen_denominator": 1,
    }  # fmt: skip
    return "charges", plain | more


def event(number: int) -> Row:
    return "events", {"event_seq": number, "at_ms": 0, "kind": "JobStarted", "data": {}}


def changed(rows: list[Row], table: str, **new: Any) -> list[Row]:
    """The rows with the last one of a table changed."""
    last = max(place for place, (name, _) in enumerate(rows) if name == table)
    return [(name, row | new if place == last else row) for place, (name, row) in enumerate(rows)]


def without(rows: list[Row], table: str) -> list[Row]:
    return [row for row in rows if row[0] != table]


CORRECTION = {"corrects": "c", "from_ms": 400, "billable_ms": -600, "live_ms": -500, "worked_ms": -400}

# Beginning of the rule's sentence -> rows that break it and nothing else.
BROKEN: dict[str, list[Row]] = {
    "live shares of a device sum to at most the whole": changed(running(), "allocation_devices", share_ppm=1_000_001),
    "an allocation holds its devices exactly while it is live": changed(
        running(), "allocation_devices", live=False
    ),
    "a gang is placed whole": [*firm(), *nodes(), *job(), attempt(), *allocation(0)],
    "a gang is never half running": [
        *firm(), *nodes(), *job(), attempt(), *allocation(0),
        *allocation(1, live=False, end_reason="exited", exit_code=1),
    ],
    "an attempt that ended holds no devices": [
        *firm(), *nodes(), *job("failed"), attempt(state="ended"), *allocation(0), *allocation(1, live=False),
    ],
    "a job has an attempt under way": changed(running(), "job_states", state="queued"),
    "an attempt before a job's newest one": [
        *firm(), *nodes(), *job("queued", attempt=2), attempt(1), *allocation(0), *allocation(1),
    ],
    "an accepted job is known": [*firm(), *without(job(), "job_states")],
    "the revisions of a job are numbered": [*firm(), *job("queued", attempt=0), revision(1), revision(3)],
    "an array is whole": [*firm(), *array_job(0, "queued"), *array_job(2, "queued"), *array_job(3, "queued")],
    "no more jobs of an array go on": [
        *firm(), *nodes(), *array_job(0, "running"), *array_job(1, "allocated"), *array_job(2, "queued"),
    ],
    "an enrolled node is known": without(nodes(), "node_states"),
    "events are numbered": [event(1), event(3)],
    "log entries are numbered": [entry(0, "firm"), entry(2, "firm")],
    "the entries of a firm are numbered": [
        *firm(), entry(0, "firm", firm_id="f", firm_seq=1), entry(1, "firm", firm_id="f", firm_seq=3),
    ],
    "every window that a gateway acknowledged": changed(metered(), "agent_keys", stored_seq=2),
    "the windows of a key follow each other": [
        *changed(metered(), "agent_keys", stored_seq=2),
        window(1, 2, 1001, 2000, IN_USE | {"observed": "free", "start_ms": 1001, "end_ms": 2000}),
    ],
    "in every window each device's time": metered(IN_USE | {"end_ms": 999}),
    "every window tells of every device": changed(metered(), "log_entries", segments=b""),
    "a charge lies within": [*metered(), charge(to_ms=1001)],
    "only what was observed in use is billed": [
        *metered(IN_USE | {"observed": "unknown"}), charge(),
    ],
    "no time of a device is billed twice": [
        *metered(), charge("c1", to_ms=600, billable_ms=600, live_ms=0, worked_ms=0, share_ppm=400_000),
        charge("c2", from_ms=500, billable_ms=500, live_ms=0, worked_ms=0, share_ppm=400_000),
    ],
    "no more than the whole of a device is billed": [
        *metered(), charge("c1", to_ms=600, billable_ms=600, live_ms=0, worked_ms=0, share_ppm=600_000),
        charge("c2", from_ms=500, billable_ms=500, live_ms=0, worked_ms=0, share_ppm=600_000, allocation_id="a9"),
    ],
    "a correction takes back no more": [
        *metered(), charge(), charge("k1", **CORRECTION | {"from_ms": 0, "billable_ms": -1000}),
        charge("k2", **CORRECTION | {"billable_ms": 1}),
    ],
}  # fmt: skip

SOUND: dict[str, list[Row]] = {
    "an empty installation": [],
    "a gang that runs": running(),
    "a gang of which one task is done": [
        *firm(), *nodes(), *job(), attempt(), *allocation(0),
        *allocation(1, live=False, end_reason="exited", exit_code=0),
    ],
    "a job that waits": [*firm(), *job("queued", attempt=0)],
    "a finished job whose lost node has not confirmed the stop": [
        *firm(), *nodes(), *job("failed"), attempt(state="ended"), *allocation(0, stop_reason="node_lost"),
        *allocation(1, live=False),
    ],
    "a job that was revised twice, of which the controller knows the first": [
        *firm(), *changed(job("queued", attempt=0), "job_states", revision=1), revision(1), revision(2),
    ],
    "an array of which one job at a time goes on": [
        *firm(), *nodes(), *array_job(0, "succeeded"), *array_job(1, "running"), *array_job(2, "queued"),
    ],
    "a job and a node that the controller has not met yet": [
        *firm(), *without(job(), "job_states"), *without(nodes(), "node_states"),
        ("inbox", {"kind": "JobSubmitted", "body": {"firm_id": "f", "job_id": "j"}}),
        ("inbox", {"kind": "NodeEnrolled", "body": {"node_id": "n1"}}),
        ("inbox", {"kind": "NodeEnrolled", "body": {"node_id": "n2"}}),
    ],
    "metered, charged and corrected": [*metered(), charge(), charge("k", **CORRECTION)],
    "metered and charged by a ledger of before": [*without_pieces(metered()), charge()],
    "a window that waits for the log": [
        *changed(metered(), "agent_keys", stored_seq=2),
        ("usage_intake", {"key_id": "k", "seq": 2, "node_id": "n1", "header": b"", "signature": b"", "segments": b""}),
    ],
}  # fmt: skip


@pytest.fixture
def write(
    database_server: DatabaseServer, database_urls: DatabaseUrls
) -> Iterator[Callable[[list[Row]], None]]:
    """Insert rows behind the schema's back: foreign keys are not looked at."""
    url = conninfo(as_superuser(database_server, database_urls.name))
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")

        def insert(rows: list[Row]) -> None:
            for table, row in rows:
                values = [json.dumps(v) if isinstance(v, (dict, list)) else v for v in row.values()]
                superuser.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(table),
                        sql.SQL(", ").join(map(sql.Identifier, row)),
                        sql.SQL(", ").join(sql.Placeholder() * len(row)),
                    ),
                    values,
                )

        yield insert


async def _check(database: Database) -> dict[str, Finding]:
    async with database.snapshot() as session:
        return {finding.sentence: finding async for finding in find_exceptions(session)}


def test_every_rule_is_tried() -> None:
    assert len(BROKEN) == len(RULES)
    for rule, sentence in zip(RULES, BROKEN, strict=True):
        assert rule.sentence.startswith(sentence)


@pytest.mark.parametrize("sentence", BROKEN)
async def test_a_broken_rule_is_found_and_only_that_one(
    write: Callable[[list[Row]], None],
    database_urls: DatabaseUrls,
    open_database: OpenDatabase,
    sentence: str,
) -> None:
    write(BROKEN[sentence])
    findings = await _check(open_database(database_urls.api))
    assert [found for found, finding in findings.items() if finding.count] == [
        rule.sentence for rule in RULES if rule.sentence.startswith(sentence)
    ]


@pytest.mark.parametrize("what", SOUND)
async def test_what_is_sound_is_let_be(
    write: Callable[[list[Row]], None], database_urls: DatabaseUrls, open_database: OpenDatabase, what: str
) -> None:
    write(SOUND[what])
    findings = await _check(open_database(database_urls.api))
    assert {found: finding.exceptions for found, finding in findings.items() if finding.count} == {}


async def test_of_many_exceptions_some_are_shown_and_all_are_counted(
    write: Callable[[list[Row]], None], database_urls: DatabaseUrls, open_database: OpenDatabase
) -> None:
    write([*firm(), *[(t, row | {"job_id": f"j{n}"}) for n in range(SHOWN + 5) for t, row in job()[:1]]])
    findings = await _check(open_database(database_urls.api))
    (finding,) = [finding for finding in findings.values() if finding.count]
    assert (len(finding.exceptions), finding.count) == (SHOWN, SHOWN + 5)
