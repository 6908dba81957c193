"""The client over a network that breaks."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from suanli.client import Client, KeyRefused, NotFound, Refused, Unreachable
from suanli.client.streams import parse_events

Handler = Callable[[httpx.Request], httpx.Response]
KEY = "sk_" + "k" * 43


class Broken(httpx.SyncByteStream):
    """A body that ends with a lost connection."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        raise httpx.ReadError("connection reset")


def client(*answers: httpx.Response | Exception) -> tuple[Client, list[httpx.Request], list[float]]:
    """A client whose server gives these answers in turn; what it asked; how long it paused."""
    waiting = list(answers)
    asked: list[httpx.Request] = []
    pauses: list[float] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = Client("http://suanli.test", KEY, transport=httpx.MockTransport(handle), pause=pauses.append)
    return made, asked, pauses


def ok(value: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=value, headers={"x-request-id": "r"})


def ndjson(*records: dict[str, object]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def text(offset: int, value: str, rank: int = 0) -> dict[str, object]:
    end = offset + len(value.encode())
    return {"attempt": 1, "rank": rank, "stream": "stdout", "offset": offset, "end": end, "text": value}


def event(seq: int, kind: str = "JobProgressed") -> bytes:
    data = json.dumps({"event_seq": seq, "kind": kind})
    return f"id: {seq}\nevent: {kind}\ndata: {data}\n\n".encode()


def test_a_lost_answer_to_a_submission_is_asked_for_again_under_the_same_key() -> None:
    made, asked, pauses = client(httpx.ReadError("reset"), ok({}, 503), ok({"job_id": "j"}, 201))
    assert made.submit({"name": "x"})["job_id"] == "j"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert len(asked) == 3
    assert pauses == sorted(pauses)


def test_what_may_not_be_repeated_is_asked_for_once() -> None:
    made, asked, _ = client(httpx.ReadError("reset"))
    with pytest.raises(Unreachable):
        made.create_join_token("haidian")
    assert len(asked) == 1


def test_a_server_that_stays_away_is_named() -> None:
    made, asked, _ = client(*[httpx.ConnectError("refused") for _ in range(4)])
    with pytest.raises(Unreachable, match=r"cannot reach http://suanli\.test: refused"):
        made.whoami()
    assert len(asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(302, headers={"location": "/x"}),
        httpx.Response(404, text="nginx"),
    ],
)
def test_something_else_that_answers_is_not_taken_for_the_api(answer: httpx.Response) -> None:
    made, _, _ = client(answer)
    with pytest.raises(Unreachable, match="is the address right"):
        made.whoami()


def test_refusals_keep_their_fields() -> None:
    problem = {
        "code": "invalid",
        "detail": "d",
        "errors": [{"field": "f", "got": "g", "want": "w"}],
        "facts": {"n": 1},
    }
    made, _, _ = client(
        ok(problem, 422), ok({"code": "not_found"}, 404), ok({"code": "unauthenticated"}, 401)
    )
    with pytest.raises(Refused) as caught:
        made.submit({})
    assert (caught.value.code, caught.value.status) == ("invalid", 422)
    assert str(caught.value.problem.errors[0]) == "f: got g, want w"
    assert caught.value.problem.facts == {"n": 1}
    with pytest.raises(NotFound):
        made.job("x")
    with pytest.raises(KeyRefused):
        made.whoami()


def test_pages_are_followed_up_to_the_number_asked_for() -> None:
    job = {"job_id": "j"}
    made, asked, _ = client(
        ok({"jobs": [job] * 200, "next_cursor": "c"}), ok({"jobs": [job] * 50, "next_cursor": "d"})
    )
    assert len(made.jobs(limit=250)) == 250
    assert [request.url.params["limit"] for request in asked] == ["200", "50"]
    assert asked[1].url.params["cursor"] == "c"


def test_events_go_on_from_the_last_one_over_lost_connections() -> None:
    made, asked, _ = client(
        httpx.Response(200, stream=Broken(b"retry: 1000\n\n", event(4), event(5))),
        httpx.ConnectError("refused"),
        httpx.Response(200, stream=Broken(event(6))),
        httpx.Response(200, content=b": still here\n\n" + event(7, "JobFailed")),
    )
    assert [e["event_seq"] for e in made.events(job_id="j")] == [4, 5, 6, 7]
    assert [request.headers.get("last-event-id") for request in asked] == [None, "5", "5", "6"]


def test_events_stop_with_the_reason_when_the_key_is_refused() -> None:
    made, _, _ = client(
        httpx.Response(200, content=event(1)), ok({"code": "unauthenticated", "detail": "no"}, 401)
    )
    events = made.events()
    assert next(events)["event_seq"] == 1
    with pytest.raises(KeyRefused):
        next(events)


def test_a_stream_that_breaks_again_and_again_without_progress_ends_with_the_error() -> None:
    made, asked, pauses = client(*[httpx.ConnectError("refused") for _ in range(20)])
    with pytest.raises(Unreachable):
        next(made.events())
    assert len(asked) == 9
    assert pauses[-1] == 5.0


def test_output_is_not_repeated_after_a_break_wherever_it_was_cut() -> None:
    made, _, _ = client(
        httpx.Response(200, stream=Broken(ndjson(text(0, "损失 "), text(0, "b", rank=1)))),
        httpx.Response(200, content=ndjson(text(0, "损失 0.5\n"), text(0, "b", rank=1), text(1, "c", rank=1))
                       + b"\n" + ndjson({"note": "end"})),
    )  # fmt: skip
    records = list(made.logs("j", follow=True))
    assert "".join(r["text"] for r in records if r["rank"] == 0) == "损失 0.5\n"
    assert "".join(r["text"] for r in records if r["rank"] == 1) == "bc"


def test_output_that_stops_without_its_end_is_asked_for_again() -> None:
    made, asked, _ = client(
        httpx.Response(200, content=ndjson(text(0, "a"))),
        httpx.Response(
            200, content=ndjson(text(0, "a"), text(1, "b"), {"note": "incomplete", "missing": ["x"]})
        ),
    )
    records = list(made.logs("j", follow=True))
    assert [r.get("text") or r["note"] for r in records] == ["a", "b", "incomplete"]
    assert len(asked) == 2


def test_a_bundle_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    short = httpx.Response(200, headers={"content-length": "10"}, stream=httpx.ByteStream(b"12345"))
    made, _, _ = client(
        short, httpx.Response(200, stream=Broken(b"123")), httpx.Response(200, content=b"12345")
    )
    for _ in range(2):
        with pytest.raises(Unreachable):
            made.bundle(file)
        assert list(tmp_path.iterdir()) == []
    assert made.bundle(file, from_="2026-01-01T00:00:00Z") == 5
    assert file.read_bytes() == b"12345"


def test_a_download_leaves_alone_what_is_called_part(tmp_path: Path) -> None:
    mine = tmp_path / "june.zip.part"
    mine.write_bytes(b"my own notes")
    made, _, _ = client(httpx.Response(200, content=b"whole"))
    assert made.bundle(tmp_path / "june.zip") == 5
    assert mine.read_bytes() == b"my own notes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["june.zip", "june.zip.part"]


def test_names_with_slashes_and_dots_stay_one_segment_of_the_path() -> None:
    made, asked, _ = client(*[ok({}, 200) for _ in range(3)])
    for name in ("a/../../b", "..", "a b?c"):
        made.job(name)
    assert [request.url.raw_path for request in asked] == [
        b"/v1/jobs/a%2F..%2F..%2Fb", b"/v1/jobs/-", b"/v1/jobs/a%20b%3Fc",
    ]  # fmt: skip


def test_the_key_is_sent_as_a_header_and_never_in_the_address() -> None:
    made, asked, _ = client(ok({}))
    made.whoami()
    assert asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(asked[0].url)


def test_events_of_a_stream_may_have_several_data_lines_and_comments() -> None:
    lines = iter(["retry: 1", "", ": x", "data: {", 'data: "event_seq": 1}', "", "data: {}", ""])
    assert [dict(event) for event in parse_events(lines)] == [{"event_seq": 1}, {}]
