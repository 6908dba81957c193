"""Text for people: harmless, whole lines, sentences, local times, decimal money."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from suanli.cli.errors import CliError
from suanli.cli.job_commands import happened
from suanli.cli.log_lines import LogLines
from suanli.cli.moments import (
    ago,
    billing_moment,
    billing_time,
    duration,
    hours,
    moment_or_ago,
    to_rfc3339,
)
from suanli.cli.output import (
    cells,
    least_width,
    make_table,
    print_table,
    refuse_existing,
    saying_later,
    write_file,
)
from suanli.cli.refusals import of_field, of_file, of_period, report, sentence
from suanli.cli.usage_tables import _budget_row, _sums, about, cny, fen_of, print_usage
from suanli.cli.waiting_commands import sentences_of
from suanli.cli.watching import LONGEST_CELL, Cut, follow_life
from suanli.client.client import Client
from suanli.client.content import send_folder
from suanli.client.errors import FieldError, Problem, Refused, refused
from suanli.client.transport import Transport
from suanli.client.types import Job, LogRecord
from suanli.client.yaml_files import YamlFile
from suanli.sentences import ZH_SERVER, Translation
from suanli.sentences.harmless import harmless, one_line
from suanli.sentences.words import said


@given(st.text())
def test_harmless_text_holds_nothing_that_acts_on_a_terminal(text: str) -> None:
    cleaned = harmless(text)
    assert not any((ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F for c in cleaned)
    assert not set(cleaned) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert "\n" not in one_line(text)


@given(st.text(st.characters(blacklist_categories=["C"], blacklist_characters="\u2028\u2029")))
def test_ordinary_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_colours_are_dropped_and_other_sequences_are_shown() -> None:
    assert harmless("\x1b[1;32mok\x1b[0m") == "ok"
    assert harmless("\x1b[2J\x1b]52;c;aGk=\x07") == "␛[2J␛]52;c;aGk=␇"


def record(text: str, rank: int = 0, stream: str = "stdout") -> LogRecord:
    return {"attempt": 1, "rank": rank, "stream": stream, "text": text, "offset": 0, "end": 0}  # type: ignore[typeddict-item]


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab\n", max_size=6)), max_size=20))
def test_lines_of_ranks_are_never_mixed_and_nothing_is_lost(pieces: list[tuple[int, str]]) -> None:
    written: list[str] = []
    lines = LogLines(written.append, prefix=True, raw=False)
    for rank, text in pieces:
        lines.add(record(text, rank))
    lines.finish()
    output = "".join(written).split("\n")[:-1]
    for rank in range(3):
        said = "".join(text for of, text in pieces if of == rank)
        wanted = said.removesuffix("\n").split("\n") if said else []
        assert [line.removeprefix(f"[{rank}] ") for line in output if line.startswith(f"[{rank}] ")] == wanted


def test_a_line_has_the_time_of_its_first_piece() -> None:
    written: list[str] = []
    lines = LogLines(written.append, prefix=False, raw=False, times=True)
    at = [datetime(2026, 1, 1, 8, 0, second, 5_000, UTC) for second in range(3)]
    for text, moment in zip(("a\nb", "c", "d\ne"), at, strict=True):
        lines.add({**record(text), "at": moment.isoformat()})
    lines.add({**record("\n"), "at": None})
    lines.finish()
    wanted = [(at[0], "a"), (at[0], "bcd"), (at[2], "e")]
    assert "".join(written) == "".join(
        f"{moment.astimezone().isoformat(timespec='milliseconds')} {line}\n" for moment, line in wanted
    )


def test_a_line_without_end_is_written_in_parts() -> None:
    written: list[str] = []
    lines = LogLines(written.append, prefix=True, raw=False, most=10)
    lines.add(record("x" * 11))
    assert written == [f"[0] {'x' * 11}\n"]


def test_a_file_with_returns_cannot_forge_the_prefix_of_another_rank() -> None:
    written: list[str] = []
    lines = LogLines(written.append, prefix=True, raw=False)
    lines.add(record("a\r[1] forged\r\n"))
    assert written == ["[0] a\n[0] [1] forged\n"]


@pytest.mark.parametrize(
    ("fen", "text"), [(0, "0.00"), (1, "0.01"), (-5, "-0.05"), (123_456_789, "1,234,567.89"), (-100, "-1.00")]
)
def test_fen_are_shown_exactly(fen: int, text: str) -> None:
    assert cny(fen) == text


@pytest.mark.parametrize(
    ("exact", "below", "above"),
    [("12.498271388", "12.49", "12.50"), ("1234.5", "1,234.50", "1,234.50"), ("-0.001", "-0.01", "-0.00")],
)
def test_what_is_left_is_shown_to_the_fen_below_and_what_is_spent_to_the_fen_above(
    exact: str, below: str, above: str
) -> None:
    assert (fen_of(exact), fen_of(exact, up=True)) == (below, above)


def test_what_is_spent_held_and_left_of_a_budget_is_the_budget_to_the_fen() -> None:
    thirds = {"amount_cny": "100.00", "spent_cny": "33.333", "held_cny": "33.333", "left_cny": "33.334"}
    nothing_held = {"amount_cny": "100.00", "spent_cny": "33.333", "held_cny": "0", "left_cny": "66.667"}
    budget = {"firm": "yunhe", "project": "", "period": "total", "ends": None}
    assert _budget_row({**budget, **thirds})[2:6] == ["100.00", "33.34", "33.33", "33.33"]
    assert _budget_row({**budget, **nothing_held})[2:6] == ["100.00", "33.34", "0.00", "66.66"]


@pytest.mark.parametrize(
    ("language", "headings", "row"),
    [
        (
            "en",
            "BUDGET OF PERIOD CNY SPENT HELD LEFT UNTIL",
            "yunhe/research month 500.00 12.51 37.50 449.99 2026-12-01 00:00:00",
        ),
        (
            "zh",
            "预算所属 周期 元 已用 占用 剩余 结束于",
            "yunhe/research 月 500.00 12.51 37.50 449.99 2026-12-01 00:00:00",
        ),
    ],
)
def test_usage_ends_with_the_budgets_that_are_set(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    headings: str,
    row: str,
) -> None:
    monkeypatch.setenv("SUANLI_LANG", language)
    monkeypatch.setenv("COLUMNS", "160")
    budget = {
        "firm": "yunhe", "project": "research", "amount_cny": "500.00", "period": "month", "begins": None,
        "ends": "2026-11-30T16:00:00Z", "spent_cny": "12.500000001", "held_cny": "37.50", "left_cny": "449.999999999",
    }  # fmt: skip
    period = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-26T00:00:00Z", "log_size": 3, "firms": []}
    print_usage({**period, "budgets": [budget]})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert row in lines
    assert lines[lines.index(row) - 1].startswith(headings)
    print_usage(period)  # of a server from before budgets
    assert row not in capsys.readouterr().out


def test_a_pipe_or_a_device_is_written_to_and_a_file_behind_a_link_is_not(tmp_path: Path) -> None:
    refuse_existing(Path(os.devnull), force=False)
    write_file(Path(os.devnull), b"1", force=False)
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("kept", "link", "nowhere"):
        with pytest.raises(CliError, match=f"{name} exists: give another --html, or --force"):
            refuse_existing(tmp_path / name, force=False, option="--html")
        with pytest.raises(FileExistsError):
            write_file(tmp_path / name, b"1", force=False)
    with pytest.raises(CliError, match="Is a directory"):
        refuse_existing(tmp_path, force=True)


def test_hours_and_durations_are_short() -> None:
    assert (hours(None), hours(0), hours(3_600_000), hours(1_000)) == ("", "0.000   ", "1.000   ", "0.000278")
    assert (hours(1), about("0.003"), about("0.000000000"), about("-0.5")) == (
        "<0.000001",
        "<0.01",
        "0.00",
        "-0.50",
    )
    assert [duration(s) for s in (5, 65, 7_500, 200_000)] == ["5 s", "1 min", "2 h 5 min", "2 d 7 h"]
    assert ago("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 0, 3, tzinfo=UTC)) == "3 min"


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("0s", 0)],
)
def test_a_moment_may_be_typed_as_how_long_ago(typed: str, seconds: int) -> None:
    now = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
    moment = moment_or_ago(typed, "--since", now)
    assert moment is not None
    assert (now - datetime.fromisoformat(moment)).total_seconds() == seconds


@pytest.mark.parametrize("typed", ["", "10", "m", "-5m", "soon", "10 minutes"])
def test_what_is_no_moment_is_refused_with_what_would_be(typed: str) -> None:
    assert moment_or_ago(None, "--since") is None
    with pytest.raises(CliError, match=r"--since: got .*, want how long ago, like 10m or 2h"):
        moment_or_ago(typed, "--since")


def test_a_typed_time_gets_this_machines_zone_and_nonsense_is_refused() -> None:
    typed = to_rfc3339("2026-01-31", "--from")
    assert typed is not None
    assert datetime.fromisoformat(typed).utcoffset() is not None
    assert to_rfc3339("2026-01-31T08:00:00+08:00", "--from") == "2026-01-31T08:00:00+08:00"
    assert to_rfc3339(None, "--from") is None
    with pytest.raises(CliError, match="--to: got 'tomorrow'") as caught:
        to_rfc3339("tomorrow", "--to")
    assert caught.value.exit_code == 2
    for read in (to_rfc3339, billing_moment, moment_or_ago):
        with pytest.raises(CliError, match="got '2026-02-30', want a day that there is: 2026-02 has 28 days"):
            read("2026-02-30", "--to")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Shanghai"])
def test_a_period_of_bills_is_read_and_said_on_the_clock_of_the_bills_whatever_this_machines_is(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert billing_moment("2026-11-01", "--from") == "2026-11-01T00:00:00+08:00"
        assert billing_moment("2026-11-01T08:00", "--from") == "2026-11-01T08:00:00+08:00"
        assert billing_moment("2026-11-01T08:00Z", "--from") == "2026-11-01T08:00:00+00:00"
        assert billing_time("2026-10-31T16:00:00.000Z") == "2026-11-01 00:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_refusal_of_a_period_says_its_times_on_the_clock_of_the_bills() -> None:
    answer = {
        "status": 422,
        "code": "invalid",
        "title": "Invalid",
        "errors": [
            {"field": "to", "got": "2026-10-31T16:00:00.000Z", "want": "a time before 2026-10-01T16:00:00Z"}
        ],
    }
    with pytest.raises(CliError) as caught, of_period(as_json=False):
        raise refused(422, answer, None)
    said = "--to: got 2026-11-01 00:00:00+08:00, want a time before 2026-10-02 00:00:00+08:00"
    assert str(caught.value) == said
    with pytest.raises(Refused), of_period(as_json=True):
        raise refused(422, answer, None)


def test_an_unknown_field_is_answered_with_the_nearest_known_one() -> None:
    want = "one of: command, environment, model, name"
    assert sentence(FieldError("comand", "an unknown field", want)).endswith("did you mean command?")
    assert sentence(FieldError("env", "an unknown field", want)).endswith("did you mean environment?")
    assert "want one of: command" in sentence(FieldError("zzz", "an unknown field", want))
    ends = FieldError("ends", "an unknown field", "one of: from, name, nodes, until")
    assert sentence(ends) == "ends: there is no such field, want one of: from, name, nodes, until"


def test_a_refused_file_is_told_by_its_lines() -> None:
    problem = {
        "code": "invalid",
        "errors": [
            {"field": "gang.devices", "got": "0", "want": "more"},
            {"field": "variants[0].model", "got": "x", "want": "y"},
            {"field": "elsewhere", "got": "a", "want": "b"},
        ],
    }
    file = YamlFile("job.yaml", {}, {"gang": 3, "gang.devices": 4, "model": 2})
    error = of_file(refused(422, problem, None), file, as_json=False)
    assert str(error).split("\n        ") == [
        "job.yaml, line 4: gang.devices: got 0, want more",
        "job.yaml, line 2: model: got x, want y",
        "job.yaml: elsewhere: got a, want b",
    ]


def test_a_field_of_one_of_several_variants_is_told_as_its_own() -> None:
    lines = {"command": 2, "variants": 3, "variants[0]": 3, "variants[0].model": 3}
    told = of_field(FieldError("variants[0].command", "nothing", "text"), YamlFile("job.yaml", {}, lines))
    assert told == "job.yaml, line 3: variants[0].command: got nothing, want text"


def test_a_field_of_the_only_variant_is_told_as_the_file_has_it_also_in_batches() -> None:
    batch = YamlFile("jobs.yaml", {}, {"jobs[0]": 2, "jobs[0].name": 2, "jobs[0].model": 3})
    told = of_field(FieldError("jobs[0].variants[0].model", "x", "y"), batch)
    assert told == "jobs.yaml, line 3: jobs[0].model: got x, want y"
    written = YamlFile("job.yaml", {}, {"model": 1, "variants": 2, "variants[0]": 3, "variants[0].model": 3})
    told = of_field(FieldError("variants[0].model", "x", "y"), written)
    assert told == "job.yaml, line 3: variants[0].model: got x, want y"


def test_who_waits_long_is_told_why_and_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    with saying_later("not yet"):
        pass
    said = ""
    with saying_later("it takes a while", after_s=0.0):
        while not said:
            time.sleep(0.001)
            said = capsys.readouterr().err
    assert said == "it takes a while\n"


def test_what_could_never_start_is_told_why_and_then_by_its_lines() -> None:
    problem = {
        "code": "impossible",
        "title": "The job could never start",
        "detail": "the job could never start: asks for too much",
        "errors": [{"field": "gang.devices", "got": "24", "want": "16"}],
    }
    error = refused(422, problem, None)
    told = of_file(error, YamlFile("job.yaml", {}, {"gang.devices": 4}), as_json=False)
    assert str(told).split("\n        ") == [
        "the job could never start: asks for too much",
        "job.yaml, line 4: gang.devices: got 24, want 16",
    ]
    assert of_file(error, YamlFile("job.yaml", {}, {}), as_json=True) is error, "programs are told all of it"


@pytest.mark.parametrize(
    "body", [None, [], "text", {"errors": "x", "facts": 3}, {"errors": [1, {"field": 2}]}]
)
def test_any_refusal_becomes_an_error_whatever_its_body(body: object) -> None:
    error = refused(500, body, "id")
    assert isinstance(error, Refused)
    assert (error.status, error.problem.request_id) == (500, "id")
    assert str(error)


def test_a_narrow_terminal_breaks_words_and_never_an_id() -> None:
    table = make_table(["JOB", "NAME", "WHY"], [["6f6b4c8d2e11", "fine-tune-" * 4, "no room " * 9]])
    shown = StringIO()
    Console(file=shown, width=40).print(table)
    assert "6f6b4c8d2e11" in shown.getvalue()
    assert max(map(len, shown.getvalue().splitlines())) <= 40


@pytest.mark.parametrize("columns", ["20", "40", "60"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_terminal_is_so_narrow_that_a_figure_an_id_or_a_state_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, language: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("SUANLI_LANG", language)
    whole = ["6f6b4c8d2e11", "1,000.250", "12.125", "1,234.56", said("succeeded")]
    print_table(
        ["JOB", "NAME", "DEVICE MODEL", "HELD", "BILLED", "CNY", "STATE"],
        [[whole[0], "fine-tune-" * 4, "ascend-910b3", *whole[1:4], "succeeded"]],
        right=(3, 4, 5),
    )
    lines = capsys.readouterr().out.splitlines()
    assert any(set(whole) <= set(line.split()) for line in lines), lines


def test_names_and_verdicts_stand_beside_figures_with_long_headings_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = ["0", "0", "3", "101.3 s", "2.1 min", "16", "156.80"]
    heading = ["firm", "under", "start now", "room is made", "go on waiting", "told start, median", "90 %"]
    print_table(
        [*heading, "devices", "CNY an hour", ""],
        [["yunhe", "as-it-is", *figures, "loses"]],
        right=range(2, 9),
    )
    lines = capsys.readouterr().out.splitlines()
    shown = " ".join(lines).split()
    assert {"firm", "under", "median", "devices", "hour", "yunhe", "loses"} <= set(shown), lines
    assert max(map(len, lines)) <= 80


def test_headings_of_figures_are_folded_where_the_terminal_is_narrow_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = [["lantian/default", "4", "no limit"]]
    monkeypatch.setenv("COLUMNS", "35")
    print_table(["OF", "NOMINAL", "BORROWS AT MOST"], queue, right=(1, 2))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["BORROWS"],
        ["OF", "NOMINAL", "AT", "MOST"],
        ["lantian/default", "4", "no", "limit"],
    ]
    monkeypatch.setenv("COLUMNS", "45")
    print_table(["OF", "NOMINAL", "BORROWS AT MOST"], queue, right=(1, 2))
    assert "BORROWS AT MOST" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [20, 40, 60])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_watched_shows_by_an_ellipsis_where_the_terminal_cuts_it_off(
    monkeypatch: pytest.MonkeyPatch, columns: int, language: str
) -> None:
    monkeypatch.setenv("SUANLI_LANG", language)
    rows = [
        ["6f6b4c8d2e11", "fine-tune-" * 4, "8 ascend-910b3", "succeeded"],
        ["6f6b4c8d2e12", "a", "1", "queued"],
    ]
    table = make_table(["JOB", "NAME", "DEVICES", "STATE"], rows)
    whole, shown = StringIO(), StringIO()
    width = max(columns, least_width(table))
    Console(file=whole, width=width).print(table)
    Console(file=shown, width=columns).print(Cut(table))
    lines = list(zip(whole.getvalue().splitlines(), shown.getvalue().splitlines(), strict=True))
    assert any(line.endswith("…") for _, line in lines) == (width > columns)
    for everything, line in lines:
        assert cells(line) <= columns
        assert line.endswith("…") == (cells(everything.rstrip()) > columns)
        assert everything.startswith(line.removesuffix("…").rstrip())


def test_what_is_watched_shows_the_beginning_of_a_cell_of_megabytes() -> None:
    said_by_job = "\x1b[2J训" * 500_000
    shown = StringIO()
    table = make_table(["NAME", "PROGRESS"], [["a", said_by_job], ["b", "1/2"]], longest=LONGEST_CELL)
    Console(file=shown, width=80).print(Cut(table))
    assert len(shown.getvalue()) < 10 * LONGEST_CELL
    assert "…" in shown.getvalue()
    assert "1/2" in shown.getvalue()


def test_nothing_is_never_less_than_nothing() -> None:
    firm: dict[str, Any] = {
        "total_fen": 0,
        "net_fen": 0,
        "subsidies": [{"program_id": "city", "version": 1, "amount_fen": 0}],
    }
    assert dict(_sums(firm)) == {"Total": "0.00 CNY", "city v1": "0.00 CNY", "Net": "0.00 CNY"}
    firm["subsidies"] = [{"program_id": "city", "version": 1, "amount_fen": 1250}]
    assert dict(_sums(firm))["city v1"] == "-12.50 CNY"


def test_an_interrupt_while_parts_are_loaded_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", "import sys\nsys.path.insert(0, sys.argv[1])\nimport suanli.cli.__main__", tmp_path],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (130, "")


def test_a_parameter_of_the_query_is_named_as_it_was_typed() -> None:
    wrong = FieldError("query sort", "'size'", "one of: name, -name")
    assert sentence(wrong) == "--sort: got 'size', want one of: name, -name"


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "step 14 of 120, loss 3.226"), ("zh", "第 14 步，共 120 步，损失 3.226")],
)
def test_a_step_report_among_the_events_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, language: str, told: str
) -> None:
    monkeypatch.setenv("SUANLI_LANG", language)
    report = {"step": 14, "of": 120, "loss_micros": 3_225_700, "tokens": 0, "at_ms": 1_795_000_000_000}
    assert happened({**report, "model_checkpoint": None}) == told
    assert happened({"attempt": 1}) == "attempt 1"


def test_states_of_jobs_are_said_in_chinese_in_refusals_too() -> None:
    zh = Translation(ZH_SERVER)
    assert zh.of("job 7 has ended already: succeeded") == "作业 7 已经结束：成功"


def test_what_happens_to_a_job_is_followed_in_the_words_in_which_its_history_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = {
        "step": 14,
        "of": 120,
        "loss_micros": 3_225_700,
        "tokens": 0,
        "at_ms": 0,
        "model_checkpoint": None,
    }
    events = [
        {"at": "2026-11-27T00:00:00Z", "kind": "JobStarted", "data": {"attempt": 1}},
        {"at": "2026-11-27T00:00:01Z", "kind": "StepReported", "data": report},
    ]
    client = SimpleNamespace(events=lambda job_id: iter(events), job=lambda job_id: {"job_id": job_id})
    follow_life(cast(Client, client), cast(Job, {"job_id": "j"}), (happened, lambda job: ""), quiet=False)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  JobStarted  attempt 1")
    assert second.endswith("  StepReported  step 14 of 120, loss 3.226")


def test_times_of_a_refusal_are_on_the_clock_of_this_machine_and_name_their_zone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    problem = Problem(409, "conflict", "Conflict", "the period ends at 2026-11-01T16:00:00Z: ask again later")
    try:
        assert report(Refused(problem), as_json=False) == 1
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (
        capsys.readouterr().err == "suanli: the period ends at 2026-11-02 00:00:00+08:00: ask again later\n"
    )


def test_a_file_that_grows_is_sent_as_it_was_when_the_folder_was_listed(tmp_path: Path) -> None:
    growing = tmp_path / "up.log"
    growing.write_bytes(b"one\n")
    sent: list[bytes] = []

    def request(method: str, path: str, **what: Any) -> Any:
        with growing.open("ab") as log:  # as the server's own log does
            log.write(b"more\n")
        if path.endswith("missing"):
            return {"missing": what["body"]["objects"]}
        sent.append(what.get("content", b""))
        return {}

    transport = cast(Transport, SimpleNamespace(request=request))
    assert send_folder(transport, tmp_path, lambda *_: None).bytes == 4
    assert b"one\n" in sent[0]
    assert b"more" not in sent[0]


def test_what_two_sizes_of_an_elastic_job_wait_for_is_said_once() -> None:
    reasons = [
        {"reason": "no_such_devices", "domain": "mixed", "device_model": "x1", "asked": asked, "available": 0,
         "sentence": sentence}
        for asked, sentence in ((16, "pool mixed has no x1"), (16, "busy"), (8, "pool mixed has no x1"))
    ]  # fmt: skip
    assert sentences_of(cast(Any, reasons)) == ["pool mixed has no x1", "busy"]
