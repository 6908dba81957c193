"""Events and output as they come, over a real socket."""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from scheduler.api import log_stream
from scheduler.domain.time import from_rfc3339, to_rfc3339
from scheduler.storage.job_logs import JobLogs, LogKey, Stream
from scheduler.storage.tables import JobStateRow
from suanli.evidence.sampling import MISSING, parse_missing
from tests.builders.api import ApiInstallation, InhabitedUrls, running_api, served


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def lin(installation: ApiInstallation) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {installation.keys['lin']}"}
    async with (
        served(installation) as url,
        httpx.AsyncClient(
            base_url=url, headers=headers, timeout=30, limits=httpx.Limits(max_connections=None)
        ) as client,
    ):
        yield client


SSE = {"Accept": "text/event-stream"}


async def next_event(lines: AsyncIterator[str]) -> dict[str, str]:
    event: dict[str, str] = {}
    async for line in lines:
        name, sign, value = line.partition(": ")
        if sign and name and name != "retry":
            event[name] = value
        elif not line and event:
            return event
    return event


async def test_events_come_as_pages_in_their_own_order(installation: ApiInstallation) -> None:
    mine = await installation.submit()
    foreign = await installation.submit("zhao")
    await installation.add_event(1, "JobAllocated", mine)
    await installation.add_event(2, "JobAllocated", foreign, "beiming")
    await installation.add_event(3, "NodeLost", None, None)
    await installation.add_event(4, "JobStarted", mine)
    client = installation.as_("lin")

    first = (await client.get("/v1/events?limit=1")).json()
    assert [event["event_seq"] for event in first["events"]] == [1]
    rest = (await client.get(f"/v1/events?after={first['next_after']}")).json()
    assert [(e["event_seq"], e["kind"]) for e in rest["events"]] == [(4, "JobStarted")]
    assert (await client.get("/v1/events?after=4")).json() == {"events": [], "next_after": 4}
    everything = (await installation.as_("ops").get("/v1/events")).json()
    assert [event["event_seq"] for event in everything["events"]] == [1, 2, 3, 4]
    of_job = (await client.get(f"/v1/jobs/{mine}/events")).json()
    assert [event["event_seq"] for event in of_job["events"]] == [1, 4]


async def test_a_stream_begins_with_what_is_new_and_carries_only_the_own_firms(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    mine = await installation.submit()
    await installation.add_event(1, "JobAllocated", mine)
    async with lin.stream("GET", "/v1/events", headers=SSE) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        await installation.add_event(2, "NodeLost", None, None)
        await installation.add_event(3, "JobStarted", mine)
        event = await asyncio.wait_for(next_event(lines), 10)
    assert (event["id"], event["event"]) == ("3", "JobStarted")
    data = json.loads(event["data"])
    assert (data["event_seq"], data["job_id"]) == (3, mine)


async def test_a_broken_stream_goes_on_from_the_last_event(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    mine = await installation.submit()
    for seq in range(1, 6):
        await installation.add_event(seq, "JobProgressed", mine)
    async with lin.stream("GET", "/v1/events", headers={**SSE, "Last-Event-ID": "3"}) as answer:
        lines = answer.aiter_lines()
        assert [(await next_event(lines))["id"] for _ in range(2)] == ["4", "5"]
    refused = await lin.get("/v1/events", headers={**SSE, "Last-Event-ID": "x"})
    assert refused.status_code == 422


async def test_a_jobs_stream_begins_at_its_beginning_and_ends_with_the_job(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    mine, other = await installation.submit(), await installation.submit(name="other")
    kinds = []
    await installation.add_event(1, "JobAllocated", mine)
    async with lin.stream("GET", f"/v1/jobs/{mine}/events", headers=SSE) as answer:
        lines = answer.aiter_lines()
        kinds.append((await next_event(lines))["event"])
        await installation.add_event(2, "JobStarted", other)
        await installation.add_event(3, "JobSucceeded", mine)
        kinds.append((await asyncio.wait_for(next_event(lines), 10))["event"])
        assert await asyncio.wait_for(next_event(lines), 10) == {}
    assert kinds == ["JobAllocated", "JobSucceeded"]


async def test_events_reach_a_stream_within_a_tenth_of_a_second(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    mine = await installation.submit()
    async with lin.stream("GET", f"/v1/jobs/{mine}/events", headers=SSE) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        waits = []
        for seq in range(1, 6):
            begun = time.monotonic()
            await installation.add_event(seq, "JobProgressed", mine)
            await asyncio.wait_for(next_event(lines), 10)
            waits.append(time.monotonic() - begun)
    assert sorted(waits)[2] < 0.1, waits


class Output:
    """The output of one job, written as a gateway writes it."""

    def __init__(self, installation: ApiInstallation, job_id: str) -> None:
        self.logs = JobLogs(installation.config.job_log_folder)
        self._of = (installation.firms["lanjing"], job_id)

    def key(self, rank: int = 0, local: int = 0, stream: Stream = "stdout", attempt: int = 1) -> LogKey:
        return LogKey(*self._of, attempt, rank, local, stream)

    def write(self, data: bytes, **where: Any) -> None:
        key = self.key(**where)
        self.logs.append(key, self.logs.stored(key), data)

    def complete(self, ranks: int = 1, locals_: int = 1, attempt: int = 1) -> None:
        for rank in range(ranks):
            for local in range(locals_):
                self.logs.complete(self.key(rank, local, "stdout", attempt))
                self.logs.complete(self.key(rank, local, "stderr", attempt))


async def running_job(installation: ApiInstallation, **spec: Any) -> tuple[str, Output]:
    job_id = await installation.submit(**spec)
    node_id, devices = await installation.add_node(f"node-{job_id[-6:]}")
    await installation.set_state(job_id)
    await installation.add_attempt(job_id, node_id, devices[: spec.get("gang", {}).get("devices", 1)])
    return job_id, Output(installation, job_id)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


async def test_stored_output_is_whole_and_every_piece_knows_its_place(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation, gang={"devices": 2})
    output.write("你好\n".encode())
    output.write(b"second\n")
    output.write(b"warned\n", local=1, stream="stderr")
    answer = await installation.as_("lin").get(f"/v1/jobs/{job_id}/logs")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    found = records(answer.text)
    assert [abs(from_rfc3339(record.pop("at")) - time.time() * 1000) < 60_000 for record in found] == [
        True,
        True,
    ]
    assert found == [
        {"attempt": 1, "rank": 0, "task_rank": 0, "local_rank": 0, "stream": "stdout", "offset": 0, "end": 14,
         "text": "你好\nsecond\n"},
        {"attempt": 1, "rank": 1, "task_rank": 0, "local_rank": 1, "stream": "stderr", "offset": 0, "end": 7,
         "text": "warned\n"},
    ]  # fmt: skip


async def test_output_of_all_ranks_is_merged_by_the_time_when_it_came(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation, gang={"devices": 2})
    noon_ms = 1_800_000_000_000
    for turn in range(60):
        output.logs = JobLogs(installation.config.job_log_folder, now_ms=lambda at=turn: noon_ms + at * 20)
        stream: Stream = "stderr" if turn % 5 == 0 else "stdout"
        output.write(f"{turn}\n".encode(), local=turn // 2 % 2, stream=stream)
    client = installation.as_("lin")
    found = records((await client.get(f"/v1/jobs/{job_id}/logs")).text)
    assert "".join(record["text"] for record in found) == "".join(f"{turn}\n" for turn in range(60))
    assert found[1]["at"] == to_rfc3339(noon_ms + 20)
    for name in ("stdout", "stderr"):
        for rank in (0, 1):
            mine = [r for r in found if (r["stream"], r["rank"]) == (name, rank)]
            assert [r["offset"] for r in mine] == [0, *(r["end"] for r in mine[:-1])]
    output.complete(locals_=2)
    await installation.as_controller(_ended(installation, job_id))
    followed = records((await client.get(f"/v1/jobs/{job_id}/logs?follow=true&tail=3")).text)
    assert followed[-1] == {"note": "end"}
    at = [record["at"] for record in followed[:-1]]
    assert len(at) == 12  # three lines of each of four streams
    assert at == sorted(at)


async def test_output_is_filtered_by_rank_stream_and_attempt(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation, gang={"devices": 2})
    output.write(b"a", local=0)
    output.write(b"b", local=1)
    output.write(b"c", local=1, stream="stderr")
    client = installation.as_("lin")

    async def texts(query: str) -> list[str]:
        answer = await client.get(f"/v1/jobs/{job_id}/logs?{query}")
        return [record["text"] for record in records(answer.text)]

    assert sorted(await texts("rank=1")) == ["b", "c"]  # written within a millisecond: any order
    assert await texts("rank=1&stream=stdout") == ["b"]
    assert await texts("attempt=2") == []
    assert (await client.get(f"/v1/jobs/{job_id}/logs?stream=both")).status_code == 422


async def test_followed_output_comes_at_once_and_ends_with_the_job(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id, output = await running_job(installation)
    async with lin.stream("GET", f"/v1/jobs/{job_id}/logs?follow=true") as answer:
        lines = answer.aiter_lines()
        waits = []
        for number in range(5):
            begun = time.monotonic()
            output.write(f"step {number}\n".encode())
            record = json.loads(await asyncio.wait_for(anext(lines), 10))
            waits.append(time.monotonic() - begun)
            assert record["text"] == f"step {number}\n"
        assert sorted(waits)[2] < 0.15, waits
        output.write(b"the end")
        output.complete()
        await installation.as_controller(_ended(installation, job_id))
        rest = [json.loads(line) async for line in lines if line]
    assert "".join(record.get("text", "") for record in rest) == "the end"
    assert rest[-1] == {"note": "end"}


def _ended(installation: ApiInstallation, job_id: str) -> Any:
    return update(JobStateRow).where(JobStateRow.job_id == job_id).values(state="succeeded")


async def test_characters_that_are_cut_between_two_looks_stay_whole(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id, output = await running_job(installation)
    data = "损失 0.5".encode()
    async with lin.stream("GET", f"/v1/jobs/{job_id}/logs?follow=true") as answer:
        lines = answer.aiter_lines()
        output.write(data[:4])
        first = json.loads(await asyncio.wait_for(anext(lines), 10))
        output.write(data[4:])
        second = json.loads(await asyncio.wait_for(anext(lines), 10))
    assert (first["text"], first["offset"], first["end"]) == ("损", 0, 3)
    assert (second["text"], second["offset"], second["end"]) == ("失 0.5", 3, len(data))


async def test_bytes_that_are_no_text_are_replaced_and_end_nothing(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation)
    output.write(b"a\xff\xfeb\x00c\xe6")
    output.complete()
    answer = await installation.as_("lin").get(f"/v1/jobs/{job_id}/logs")
    assert "".join(record["text"] for record in records(answer.text)) == "a\ufffd\ufffdb\x00c\ufffd"


async def test_a_job_that_waits_is_followed_until_it_runs(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id = await installation.submit()
    async with lin.stream("GET", f"/v1/jobs/{job_id}/logs?follow=true") as answer:
        lines = answer.aiter_lines()
        output = Output(installation, job_id)
        node_id, devices = await installation.add_node("node-late")
        await installation.set_state(job_id)
        await installation.add_attempt(job_id, node_id, devices[:1])
        output.write(b"started\n")
        record = json.loads(await asyncio.wait_for(anext(lines), 10))
    assert record["text"] == "started\n"


async def test_a_cancelled_job_that_never_ran_has_no_output_and_ends(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id = await installation.submit()
    await installation.set_state(job_id, state="cancelled", attempt=0)
    answer = await asyncio.wait_for(lin.get(f"/v1/jobs/{job_id}/logs?follow=true"), 10)
    assert records(answer.text) == [{"note": "end"}]


async def test_output_that_was_lost_with_its_node_is_said_to_be_missing(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id, output = await running_job(installation)
    output.write(b"half")
    await installation.as_controller(_ended(installation, job_id))
    begun = time.monotonic()
    answer = await lin.get(f"/v1/jobs/{job_id}/logs?follow=true")
    assert time.monotonic() - begun >= log_stream.SETTLE_S * 0.9
    *texts, last = records(answer.text)
    assert "".join(record["text"] for record in texts) == "half"
    assert last["note"] == "incomplete"
    assert last["missing"] == ["1/0.0.stdout", "1/0.0.stderr"]


async def test_only_the_last_lines_where_they_are_asked_for(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation)
    output.write(b"one\ntwo\nthree\nfour")
    output.write(b"oops\n", stream="stderr")
    client = installation.as_("lin")

    async def texts(tail: int) -> dict[str, str]:
        answer = await client.get(f"/v1/jobs/{job_id}/logs?tail={tail}")
        return {record["stream"]: record["text"] for record in records(answer.text)}

    assert await texts(2) == {"stdout": "three\nfour", "stderr": "oops\n"}
    assert await texts(100) == {"stdout": "one\ntwo\nthree\nfour", "stderr": "oops\n"}
    assert await texts(0) == {}
    assert (await client.get(f"/v1/jobs/{job_id}/logs?tail=-1")).status_code == 422


async def test_only_what_came_since_a_moment_where_that_is_asked_for(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation)
    noon_ms = 1_800_000_000_000  # 2027-01-15T08:00:00Z
    for minute, text in enumerate([b"old\n", b"newer\nnew\n"]):
        output.logs = JobLogs(
            installation.config.job_log_folder, now_ms=lambda at=minute: noon_ms + at * 60_000
        )
        output.write(text)
        output.complete()
    client = installation.as_("lin")

    async def text(query: str) -> str:
        answer = await client.get(f"/v1/jobs/{job_id}/logs?{query}")
        assert answer.status_code == 200, answer.text
        return "".join(record.get("text", "") for record in records(answer.text))

    assert await text("since=2027-01-15T08:00:30Z") == "newer\nnew\n"
    assert await text("since=2027-01-15T16:00:30%2B08:00&tail=1") == "new\n"
    assert await text("since=2027-01-15T07:00:00Z&tail=2") == "newer\nnew\n"
    assert await text("since=2027-01-15T09:00:00Z") == ""
    await installation.as_controller(
        update(JobStateRow).where(JobStateRow.job_id == job_id).values(state="succeeded")
    )
    assert await text("since=2027-01-15T08:00:30Z&follow=true") == "newer\nnew\n"
    refused = await client.get(f"/v1/jobs/{job_id}/logs?since=10m")
    assert refused.status_code == 422
    assert "query since" in refused.text


async def test_a_reader_goes_on_behind_what_it_has_seen(installation: ApiInstallation) -> None:
    job_id, output = await running_job(installation)
    output.write(b"one\ntwo\n")
    client = installation.as_("lin")
    answer = await client.get(f"/v1/jobs/{job_id}/logs?seen=1:0:stdout:4")
    assert [(r["offset"], r["end"], r["text"]) for r in records(answer.text)] == [(4, 8, "two\n")]
    refused = await client.get(f"/v1/jobs/{job_id}/logs?seen=1:0:stdin:4")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "query seen"


async def test_a_stream_is_downloaded_as_it_was_written_and_from_any_byte(
    installation: ApiInstallation,
) -> None:
    job_id, output = await running_job(installation, gang={"devices": 2})
    output.write(b"a\xff\x1b[31mred", local=1)
    client = installation.as_("lin")
    path = f"/v1/jobs/{job_id}/logs/1/1/stdout"
    assert (await client.get(path)).content == b"a\xff\x1b[31mred"
    part = await client.get(path, headers={"Range": "bytes=7-"})
    assert (part.status_code, part.content) == (206, b"red")
    assert part.headers["content-range"] == "bytes 7-9/10"
    assert (await client.get(path, headers={"Range": "bytes=11-"})).status_code == 422
    assert (await client.get(f"/v1/jobs/{job_id}/logs/1/0/stdout")).content == b""
    assert (await installation.as_("zhao").get(path)).status_code == 404


async def test_two_hundred_followers_of_a_job_hear_every_line_and_cost_one_reader(
    installation: ApiInstallation, lin: httpx.AsyncClient
) -> None:
    job_id, output = await running_job(installation)
    url = f"/v1/jobs/{job_id}/logs?follow=true"
    first = [asyncio.Event() for _ in range(200)]

    async def listen(ready: asyncio.Event) -> str:
        text = ""
        limits = httpx.Timeout(60)
        async with lin.stream("GET", url, timeout=limits) as answer:
            async for line in answer.aiter_lines():
                if line and "text" in (record := json.loads(line)):
                    text += record["text"]
                    ready.set()
        return text

    output.write(b"begin\n")
    listeners = [asyncio.create_task(listen(ready)) for ready in first]
    await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in first)), 60)
    for number in range(10):
        output.write(f"line {number}\n".encode())
    output.complete()
    await installation.as_controller(_ended(installation, job_id))
    wanted = "begin\n" + "".join(f"line {number}\n" for number in range(10))
    assert set(await asyncio.wait_for(asyncio.gather(*listeners), 60)) == {wanted}


@pytest.mark.parametrize("job", ["..", "%2e%2e%2f%2e%2e%2fetc", "x%00y", "a" * 300])
async def test_no_name_leads_out_of_the_folder_of_output(
    installation: ApiInstallation, lin: httpx.AsyncClient, job: str
) -> None:
    (installation.config.job_log_folder / "1").mkdir(parents=True)
    (installation.config.job_log_folder / "1" / "0.0.stdout").write_bytes(b"secret")
    answer = await lin.get(f"/v1/jobs/{job}/logs")
    assert answer.status_code in (400, 404)
    assert "secret" not in answer.text


async def test_the_evidence_log_is_served_to_everybody_and_nothing_else_of_the_folder(
    installation: ApiInstallation,
) -> None:
    folder = installation.config.log_place
    (folder / "tile" / "0" / "x001").mkdir(parents=True)
    (folder / "checkpoint").write_bytes(b"origin\n1\nroot\n")
    (folder / "tile" / "0" / "000").write_bytes(b"\x00" * 32)
    (folder / "tile" / "0" / "x001" / "234").write_bytes(b"\x01" * 32)
    (folder / "secret").write_bytes(b"hidden words")
    nobody = installation.as_(None)
    checkpoint = await nobody.get("/log/checkpoint")
    assert (checkpoint.content, checkpoint.headers["cache-control"]) == (b"origin\n1\nroot\n", "no-cache")
    tile = await nobody.get("/log/tile/0/x001/234")
    assert tile.content == b"\x01" * 32
    assert "immutable" in tile.headers["cache-control"]
    for path in ("/log/secret", "/log/tile/../secret", "/log/tile/0/..%2f..%2fsecret", "/log/tile/0/001",
                 "/log/tile/%2e%2e/secret", "/log/tile/64/000"):  # fmt: skip
        answer = await nobody.get(path)
        assert answer.status_code in (401, 404), path
        assert b"hidden words" not in answer.content


async def test_usage_and_evidence_of_an_empty_log_say_so(installation: ApiInstallation) -> None:
    lin, audit = installation.as_("lin"), installation.as_("audit")
    usage = (await lin.get("/v1/usage")).json()
    assert usage == {
        "from": "2026-12-31T16:00:00.000Z", "to": "2027-01-15T08:00:00.000Z", "log_size": 0, "firms": [],
        "budgets": [],
    }  # fmt: skip
    balance = (await audit.get("/v1/usage/balance?from=2027-01-15T00:00:00%2B08:00")).json()
    assert balance["total"]["enrolled_ms"] == 0
    for path in ("usage", "usage/balance"):
        ahead = await audit.get(f"/v1/{path}?to=2027-01-31T00:00:00Z")
        assert ahead.json()["to"] == "2027-01-15T08:00:00.000Z", path
    bundle = await audit.get("/v1/bundle")
    assert (bundle.status_code, bundle.json()["code"]) == (503, "unavailable")


async def test_a_draw_that_cannot_be_is_refused_by_the_name_of_its_field(
    installation: ApiInstallation,
) -> None:
    audit = installation.as_("audit")
    for body, field in (
        ({"seed_checkpoint": "no note", "indexes": [0]}, "seed_checkpoint"),
        ({"seed_checkpoint": "x", "indexes": list(range(1001))}, "indexes"),
        ({"seed_checkpoint": "x", "indexes": []}, "indexes"),
        ({"seed_checkpoint": "x", "indexes": [-1]}, "indexes[0]"),
        ({"seed_checkpoint": "x", "indexes": [0], "to": "tomorrow"}, "to"),
    ):
        answer = await audit.post("/v1/proof-packets", json=body)
        assert answer.status_code == 422, answer.text
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_raw_samples_are_asked_of_nodes_that_are_there_and_the_others_are_named(
    installation: ApiInstallation,
) -> None:
    audit = installation.as_("audit")
    segment = {
        "path": "samples/7-0.jsonl", "node_id": "nowhere", "device_id": "d", "allocation_id": "a",
        "start_ms": 0, "end_ms": 300_000,
    }  # fmt: skip
    request = {"schema": "suanli.sample_request.v1", "seed": "00" * 32, "segments": [segment], "devices": []}
    answer = await audit.post("/v1/sample-packets", json=request)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [MISSING]
        assert parse_missing(archive.read(MISSING)) == {"samples/7-0.jsonl": "no such node"}
    for change, field in (
        ({"end_ms": 300_001}, "segments[0].end_ms"),
        ({"end_ms": 0}, "segments[0].end_ms"),
        ({"path": "../samples/7-0.jsonl"}, "segments[0].path"),
    ):
        refused = await audit.post(
            "/v1/sample-packets", json={**request, "segments": [{**segment, **change}]}
        )
        assert refused.status_code == 422, refused.text
        assert [error["field"] for error in refused.json()["errors"]] == [field]
    twice = await audit.post("/v1/sample-packets", json={**request, "segments": [segment, segment]})
    assert [error["field"] for error in twice.json()["errors"]] == ["segments[1].path"]


@pytest.mark.parametrize(
    "query", ["from=yesterday", "from=2027-01-01T00:00:00", "to=2026-01-01T00:00:00Z", "from=2028-01-01T00:00:00Z",
              "from=9999999999-01-01T00:00:00Z"],
)  # fmt: skip
async def test_a_period_that_is_none_is_refused(installation: ApiInstallation, query: str) -> None:
    query = query if "to=" not in query else f"{query}&from=2027-01-01T00:00:00Z"
    answer = await installation.as_("ops").get(f"/v1/usage?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith("query ")
