"""Reports of the verifier: HTML that is safe against what a bundle says, both languages, and the signed result."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from suanli.cli.errors import CliError
from suanli.cli.output import cells
from suanli.cli.sample import sample_command
from suanli.cli.verify import verify_command
from suanli.cli.verify_html import html_report
from suanli.cli.verify_report import print_verdict
from suanli.cli.verify_text import TEXT, Words
from suanli.evidence.bundle import firm_scope
from suanli.evidence.findings import STEPS
from suanli.evidence.keys import NOTE_ED25519, verifier_key
from suanli.evidence.limits import LIMITS
from suanli.evidence.moments import shown_stretch, shown_time
from suanli.evidence.policy import format_policy
from suanli.evidence.signed_note import parse_note, verify_note
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.verify import verify
from suanli.witness.folder import WitnessFolder
from tests.builders.bundles import write_bundle
from tests.builders.evidence import honest_operator

OPERATOR = honest_operator()
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\x1b[31m"


@pytest.fixture
def desk(tmp_path):
    """A bundle, a policy, and the log checkpoint of the bundle."""
    write_bundle(tmp_path / "june.zip", OPERATOR.bundle())
    write_bundle(tmp_path / "firm.zip", OPERATOR.bundle(scope=firm_scope("firm-a")))
    (tmp_path / "policy").write_text(format_policy(OPERATOR.policy()))
    (tmp_path / "after").write_bytes(OPERATOR.checkpoint())
    return tmp_path


def _run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def _read(page):
    reader = _Tags()
    reader.feed(page)
    return reader


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_that_a_bundle_says_becomes_part_of_the_page(language):
    verdict = verify(OPERATOR.bundle(change_statement=lambda value: value["firms"].pop()))
    finding = replace(verdict.findings[0], entity=HOSTILE, expected=HOSTILE, found=HOSTILE)
    facts = {
        **verdict.facts,
        "log": {"origin": HOSTILE, "size": 1, "root": HOSTILE},
        "cosigned_s": {HOSTILE: 1},
    }
    facts["scope"] = {"kind": "firm", "firm_id": HOSTILE}
    page = html_report(
        replace(verdict, findings=(finding,), facts=facts), Words(language), "suanli test", HOSTILE
    )
    read = _read(page)
    assert read.tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "b", "span"),
        *("table", "tr", "th", "td", "code", "ul", "li"),
    }
    assert "<script>alert(1)</script>" in read.text
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_answers_both_questions_and_names_the_cause(desk):
    files = OPERATOR.bundle(change_statement=lambda value: value["firms"].pop())
    write_bundle(desk / "wrong.zip", files)
    result = _run(verify_command, desk / "wrong.zip", "--policy", desk / "policy", "--html", desk / "r.html")
    assert result.exit_code == 1
    read = _read((desk / "r.html").read_text("utf-8"))
    assert "NOT VERIFIED" in read.text
    assert "statement.rating" in read.text
    assert "completeness is relative to it" in read.text
    assert hashlib.sha256((desk / "policy").read_bytes()).hexdigest() in read.text
    assert "by the clock of this machine" in read.text
    assert f"{desk / 'wrong.zip'}, --policy {desk / 'policy'}" in read.text


def test_a_step_that_ended_the_verification_is_not_said_to_be_unreached(desk):
    files = {path: data for path, data in OPERATOR.bundle().items() if not path.startswith("tile/entries/")}
    write_bundle(desk / "no-entries.zip", files)
    result = _run(verify_command, desk / "no-entries.zip", "--policy", desk / "policy")
    assert result.exit_code == 1
    assert "Steps not run to their end: 1 manifest" in result.output


def test_a_verdict_in_a_pipe_ends_its_lines_where_their_text_ends(desk):
    files = OPERATOR.bundle(change_statement=lambda value: value["firms"].pop())
    write_bundle(desk / "wrong.zip", files)
    app = typer.Typer()
    app.command()(verify_command)
    for language in ("en", "zh"):
        printed = CliRunner().invoke(
            app, [str(desk / "wrong.zip"), "--language", language], env={"COLUMNS": None}
        )
        lines = printed.output.splitlines()
        assert lines == [line.rstrip() for line in lines]
        assert max(map(len, lines)) > 100, "each sentence is one line there"


def test_moments_in_findings_are_read_as_moments():
    assert shown_time(1_793_462_400_000) == "2026-10-31T16:00:00Z"
    assert shown_time(1_793_462_400_500) == "2026-10-31T16:00:00.500Z"
    assert shown_time(10**18) == f"{10**18} ms"
    assert shown_stretch(0, 300_000) == "[1970-01-01T00:00:00Z, 1970-01-01T00:05:00Z)"
    verdict = verify(OPERATOR.bundle(), settings=VerifySettings(now_ms=1))
    shown = " ".join(f"{finding.expected} {finding.found}" for finding in verdict.findings)
    assert not re.search(r"\d{12,}", shown), shown


def test_findings_are_read_on_a_narrow_terminal():
    verdict = verify(OPERATOR.bundle(change_statement=lambda value: value["firms"].pop()))
    finding = replace(verdict.findings[0], entity="node-" + "a" * 30, expected="e" * 60, found="another")
    printed = StringIO()
    print_verdict(replace(verdict, findings=(finding,)), Console(file=printed, width=60), Words("en"))
    lines = printed.getvalue().splitlines()
    at = lines.index(f"  - {finding.severity}  {finding.code}  ({Words('en').step(finding.step)})")
    assert [line.split() for line in lines[at + 1 : at + 5]] == [
        ["Where", "node-" + "a" * 30],
        ["Expected", "e" * 46],
        ["e" * 14],
        ["Found", "another"],
    ]
    assert max(map(len, lines[at : at + 5])) <= 60


@pytest.mark.parametrize("language", ["en", "zh"])
def test_facts_are_read_on_a_narrow_terminal_and_hashes_stay_whole(monkeypatch, language):
    monkeypatch.setenv("COLUMNS", "60")
    printed = StringIO()
    print_verdict(verify(OPERATOR.bundle()), Console(file=printed, width=60), Words(language))
    facts = printed.getvalue().partition(Words(language)("period"))[2].partition("\n\n")[0]
    hashes = re.findall("[0-9a-f]{64}", facts)
    assert len(hashes) >= 2
    assert [
        line for line in facts.split("\n") if cells(line) > 60 and not any(h in line for h in hashes)
    ] == []


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Cannot be read: bundle: got something that is no ZIP file, want a readable ZIP file"),
        ("zh", "无法读取：bundle：收到不是 ZIP 文件的内容，应为可读的 ZIP 文件"),
    ],
)
def test_a_file_that_is_no_zip_is_said_to_be_none(tmp_path, language, told):
    (tmp_path / "bundle.zip").write_text("hello")
    result = _run(verify_command, tmp_path / "bundle.zip", "--language", language)
    assert result.exit_code == 2
    assert told in result.output


def test_what_is_wrong_with_a_policy_is_said_in_chinese_too(desk):
    for line, told in (
        ("quorum w", "policy：收到末尾没有换行符，应为每行以换行符结束"),
        ("quorum none\nquorum none\n", "信任策略第 2 行：收到第二个 quorum 行，应为恰好一个"),
    ):
        (desk / "policy").write_text(line)
        result = _run(verify_command, desk / "june.zip", "--policy", desk / "policy", "--language", "zh")
        assert result.exit_code == 2
        assert told in result.output.replace("\n", "")


def test_the_report_speaks_chinese(desk):
    result = _run(verify_command, desk / "june.zip", "--policy", desk / "policy", "--language", "zh")
    assert result.exit_code == 0
    assert "已核验" in result.output
    assert not re.search("[\u4e00-\u9fff] ?[,:;]|[,:;] [\u4e00-\u9fff]", result.output)
    assert "未能证明" in result.output
    assert "设备确实存在" in result.output
    assert _run(verify_command, desk / "june.zip", "--language", "fr").exit_code == 2


def test_both_languages_say_the_same_things():
    for texts in (TEXT, LIMITS):
        for name, (english, chinese) in texts.items():
            assert english, name
            assert chinese, name
            fields = [
                sorted(part.split("}")[0] for part in text.split("{")[1:]) for text in (english, chinese)
            ]
            assert fields[0] == fields[1], name
    assert {f"step_{step}" for step in STEPS} <= TEXT.keys()


def test_the_result_is_signed_over_the_verdict_as_it_was_printed(desk):
    witness = WitnessFolder(desk / "witness")
    witness.create("audit.example/w1", bytes(range(32)))
    arguments = (
        "--policy",
        desk / "policy",
        "--json",
        "--result",
        desk / "result",
        "--sign-with",
        desk / "witness",
    )
    printed = _run(verify_command, desk / "june.zip", *arguments)
    assert printed.exit_code == 0, printed.output
    kept = (desk / "result").read_bytes()
    for there in (arguments, ("--html", desk / "result")):
        again = _run(verify_command, desk / "june.zip", *there)
        option = "--html" if "--html" in there else "--result"
        assert str(again.exception) == f"{desk / 'result'} exists: give another {option}, or --force"
        assert (desk / "result").read_bytes() == kept
    note = parse_note((desk / "result").read_bytes())
    key = verifier_key("audit.example/w1", NOTE_ED25519, witness.key().public_key)
    assert verify_note(note, [key]) == [key]
    assert "verified yes\n" in note.text
    assert f"bundle {json.loads(printed.output)['facts']['bundle_sha256']}\n" in note.text
    digest = hashlib.sha256(printed.output.removesuffix("\n").encode()).hexdigest()
    assert f"verdict {digest}\n" in note.text
    assert _run(verify_command, desk / "june.zip", *arguments, "--force").exit_code == 0
    assert _run(verify_command, desk / "june.zip", "--result", desk / "result").exit_code == 2


def test_a_firm_is_told_when_a_bundle_was_made_for_somebody_else(desk):
    own = ("--policy", desk / "policy", "--since", desk / "after", "--firm", "firm-a")
    assert _run(verify_command, desk / "firm.zip", *own).exit_code == 0
    other = _run(verify_command, desk / "june.zip", *own, "--json")
    assert other.exit_code == 1
    assert [f["code"] for f in json.loads(other.output)["findings"]] == ["manifest.scope"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "--output: . cannot be written: Is a directory"),
        ("a" * 300, "cannot be written: File name too long"),
        (
            "x.checkpoint",
            "--output x.checkpoint is the name of a file that is written beside it: give another",
        ),
    ],
)
def test_a_packet_goes_where_nothing_beside_it_overwrites_it(desk, name, why):
    drawn = _run(sample_command, "--server", "--policy", desk / "policy", "--output", name, "--force")
    assert isinstance(drawn.exception, CliError), drawn.exception
    assert drawn.exception.exit_code == 2
    assert why in str(drawn.exception)


def test_a_sample_is_drawn_and_asked_for(desk):
    out = desk / "request.json"
    common = (desk / "june.zip", "--policy", desk / "policy", "--sample-after", desk / "after")
    drawn = _run(sample_command, *common, "-o", out)
    assert drawn.exit_code == 0, drawn.output
    assert len(json.loads(out.read_text())["segments"]) == 6
    (desk / "request.zip").write_bytes(b"what an earlier request brought")
    for there in (["--output", out], ["--output", desk / "other.json", "--fetch"]):
        (desk / "other.zip").touch()
        kept = _run(sample_command, *common, *there)
        assert isinstance(kept.exception, CliError)
        assert kept.exception.exit_code == 2
        assert "exists: give another --output, or --force" in str(kept.exception)
    assert _run(sample_command, *common, "-o", out, "--force").exit_code == 0
    clash = _run(sample_command, *common, "-o", desk / "other.zip", "--fetch", "--force")
    assert "is the name of a file that is written beside it" in str(clash.exception)
    packet = desk / "packet"
    packet.mkdir()
    checked = _run(verify_command, *common, "--sample", packet, "--json")
    assert checked.exit_code == 0, checked.output
    assert {f["code"] for f in json.loads(checked.output)["findings"]} == {"sample.unrooted"}
    assert _run(verify_command, desk / "june.zip", "--sample", packet).exit_code == 2
    assert _run(sample_command, desk / "june.zip").exit_code == 2
