"""`suanli verify`: exit codes, the report for people, and JSON for machines."""

import json

import pytest
import typer
from typer.testing import CliRunner

from suanli.cli.verify import verify_command
from suanli.evidence.bundle import STATEMENT
from suanli.evidence.policy import format_policy
from tests.builders.bundles import write_bundle, write_bundle_folder
from tests.builders.evidence import honest_operator

OPERATOR = honest_operator()


@pytest.fixture
def desk(tmp_path):
    """The auditor's desk: a bundle, a policy of one's own, an earlier log checkpoint."""
    write_bundle(tmp_path / "june.zip", OPERATOR.bundle())
    (tmp_path / "policy").write_text(format_policy(OPERATOR.policy()))
    (tmp_path / "earlier").write_bytes(honest_operator(4).checkpoint())
    return tmp_path


def _run(*arguments, **environment):
    app = typer.Typer()
    app.command()(verify_command)
    environment = {"COLUMNS": "200", "SUANLI_LANG": "en", **environment}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def test_the_report_is_in_the_language_of_the_reader_or_of_the_option(desk):
    given = desk / "june.zip", "--policy", desk / "policy"
    assert "已核验（" in _run(*given, SUANLI_LANG="zh").output
    assert "VERIFIED" in _run(*given, "--language", "en", SUANLI_LANG="zh").output


def test_a_good_bundle_is_verified_with_exit_code_0(desk):
    result = _run(desk / "june.zip", "--policy", desk / "policy", "--since", desk / "earlier")
    assert result.exit_code == 0, result.output
    assert "VERIFIED" in result.output
    assert "Integrity" in result.output
    assert "Completeness" in result.output
    assert "2026-06-01T00:00:00Z to 2026-06-01T00:30:00Z" in result.output
    assert "4 of 4 devices are SIMULATED" in result.output
    assert "uid in 12 windows" in result.output
    assert "Not proved" in result.output


def test_processes_share_the_work_and_say_the_same(desk):
    alone = _run(desk / "june.zip", "--policy", desk / "policy", "--json", "--processes", "1")
    shared = _run(desk / "june.zip", "--policy", desk / "policy", "--json", "--processes", "2")
    assert shared.exit_code == 0, shared.output
    told = [json.loads(result.output) for result in (shared, alone)]
    assert all(verdict["facts"].pop("verified_at_ms") for verdict in told)
    assert told[0] == told[1]


def test_without_a_policy_the_exit_code_is_3(desk):
    result = _run(desk / "june.zip", COLUMNS="60")
    assert result.exit_code == 3
    assert "NOT VERIFIED" in result.output
    _, not_proved = result.output.split("Not proved\n")
    lines = not_proved.splitlines()
    assert any(line.startswith("    ") for line in lines), "nothing was long enough to be wrapped"
    assert all(line.startswith(("  - ", "    ")) for line in lines if line)


def test_a_wrong_bundle_has_exit_code_1_and_names_the_step(desk, tmp_path):
    files = OPERATOR.bundle(change_statement=lambda value: value["firms"].pop())
    write_bundle_folder(tmp_path / "folder", files)
    result = _run(tmp_path / "folder", "--policy", desk / "policy")
    assert result.exit_code == 1
    assert "14 rating" in result.output
    as_json = _run(tmp_path / "folder", "--policy", desk / "policy", "--json")
    value = json.loads(as_json.output)
    assert as_json.exit_code == 1
    assert value["findings"][0]["code"] == "statement.rating"
    assert value["findings"][0]["step_name"] == "rating"


def test_what_cannot_be_read_has_exit_code_2(desk, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK not a zip")
    assert _run(tmp_path / "broken.zip").exit_code == 2
    absent = _run(tmp_path / "absent.zip")
    assert absent.exit_code == 2
    assert f"{tmp_path / 'absent.zip'}: No such file or directory\n" in absent.output
    assert _run(desk / "june.zip", "--policy", desk / "earlier").exit_code == 2
    assert json.loads(_run(tmp_path / "broken.zip", "--json").output)["verified"] is False


def test_a_file_that_is_no_log_checkpoint_is_refused_by_the_option_that_names_it(desk, tmp_path):
    (tmp_path / "notes").write_text("my notes\n")
    for option in ("--since", "--sample-after"):
        refused = _run(desk / "june.zip", "--policy", desk / "policy", option, tmp_path / "notes")
        assert refused.exit_code == 2, refused.output
        assert f"{option}: got " in refused.output
        assert "a signed log checkpoint" in " ".join(refused.output.split())


def test_a_log_checkpoint_of_another_log_is_refused_by_the_option_that_names_it(desk, tmp_path):
    other = (desk / "earlier").read_bytes().replace(b"ledger.example/test", b"other.example/log")
    (tmp_path / "other").write_bytes(other)
    refused = _run(desk / "june.zip", "--policy", desk / "policy", "--since", tmp_path / "other")
    assert refused.exit_code == 2, refused.output
    assert "--since: got other.example/log, want a log checkpoint that ledger" in " ".join(
        refused.output.split()
    )


def test_control_characters_of_a_hostile_bundle_do_not_reach_the_terminal(desk, tmp_path):
    files = OPERATOR.bundle()
    files[STATEMENT] = b'{"schema":"\x1b[31m[bold]\xc2\x9b31m"}'
    write_bundle_folder(tmp_path / "hostile", files)
    (tmp_path / "hostile" / "\u009b31m").write_bytes(b"")
    result = _run(tmp_path / "hostile", "--policy", desk / "policy")
    assert result.exit_code == 2
    assert "\x9b" not in result.output
    (tmp_path / "hostile" / "\u009b31m").unlink()
    result = _run(tmp_path / "hostile", "--policy", desk / "policy")
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\x9b" not in result.output
