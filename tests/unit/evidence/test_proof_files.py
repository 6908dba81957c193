"""tlog-proof files: what they show under the reader's policy, and that nothing else passes."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suanli.cli.errors import CliError
from suanli.cli.output import write_file
from suanli.cli.proof import app
from suanli.evidence.errors import EvidenceError
from suanli.evidence.policy import format_policy, parse_policy
from suanli.evidence.proof_file import ProofFile, check_proof, make_proof, parse_proof_file
from tests.builders.cli import run_suanli
from tests.builders.evidence import Operator, honest_operator


@pytest.fixture(scope="module")
def operator() -> Operator:
    return honest_operator()


def proof_of(operator: Operator, index: int) -> ProofFile:
    files = operator.log_files()
    return make_proof(index, files["checkpoint"], files.__getitem__)


def test_every_entry_is_proved_and_survives_its_file(operator: Operator) -> None:
    leaves = operator.leaves()
    for index in range(len(leaves)):
        proof = proof_of(operator, index)
        assert parse_proof_file(proof.encode()) == proof
        proved = check_proof(proof, operator.policy())
        assert proved.head.size == len(leaves)
        assert list(proved.witnessed_s) == ["w"]
        assert check_proof(replace(proof, extra=None), operator.policy(), proved.entry) == proved


def test_an_index_beyond_the_log_is_named(operator: Operator) -> None:
    with pytest.raises(EvidenceError, match="index: got 100000"):
        proof_of(operator, 100_000)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda proof: replace(proof, index=proof.index + 1), "proof.inclusion"),
        (lambda proof: replace(proof, extra=b"other"), "proof.inclusion"),
        (lambda proof: replace(proof, extra=None), "proof.entry"),
        (lambda proof: replace(proof, path=proof.path[:-1]), "proof.inclusion"),
    ],
    ids=["another index", "another entry", "no entry", "a shorter path"],
)
def test_a_changed_proof_fails_at_a_named_step(operator: Operator, change, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EvidenceError) as refused:
        check_proof(change(proof_of(operator, 1)), operator.policy())
    assert refused.value.field == field


def test_without_its_witness_the_quorum_is_missed(operator: Operator) -> None:
    files = operator.log_files(operator.checkpoint(witnessed=False))
    proof = make_proof(1, files["checkpoint"], files.__getitem__)
    with pytest.raises(EvidenceError, match="no witness"):
        check_proof(proof, operator.policy())
    assert check_proof(proof, operator.policy(quorum="none")).witnessed_s == {}


def test_every_byte_of_a_proof_counts(operator: Operator) -> None:
    data = proof_of(operator, 2).encode()
    policy = operator.policy()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x01
        try:
            check_proof(parse_proof_file(bytes(changed)), policy)
        except EvidenceError:
            continue
        pytest.fail(f"byte {place} was accepted: {bytes(changed[max(place - 20, 0) : place + 20])!r}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\nx",
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v2\nindex 1\n\nx",
        b"\xff\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\n" + b"A" * 44 * 100 + b"\n\nx",
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_proof_file(data)


def test_a_file_that_came_meanwhile_is_replaced_only_by_force(tmp_path: Path) -> None:
    file = tmp_path / "1.tlog-proof"
    file.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        write_file(file, b"mine", force=False)
    assert file.read_bytes() == b"somebody else's"
    write_file(file, b"mine", force=True)
    assert file.read_bytes() == b"mine"


def test_the_command_makes_a_proof_from_a_folder_and_checks_it(operator: Operator, tmp_path: Path) -> None:
    for path, data in operator.log_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    policy = tmp_path / "policy"
    policy.write_text(format_policy(operator.policy()))
    assert parse_policy(policy.read_bytes())
    file = tmp_path / "1.tlog-proof"
    run = CliRunner()
    made = run.invoke(app, ["make", "1", "--log", str(tmp_path), "-o", str(file)])
    assert made.exit_code == 0, made.output
    checked = run.invoke(app, ["check", str(file), "--policy", str(policy)])
    assert checked.exit_code == 0, checked.output
    assert checked.output.startswith("PROVED: entry 1 of ")
    again = ["proof", "make", "1", "--log", str(tmp_path), "-o", str(file)]
    kept = run_suanli(*again, environment={"LANG": "C"})
    assert kept.returncode == 2
    assert kept.stderr == f"suanli: {file} exists: give another --output, or --force\n"
    nowhere = tmp_path / "nowhere"
    nowhere.symlink_to(tmp_path / "away")
    for output, why in (
        (nowhere, "exists"),
        (tmp_path / ("a" * 300), "cannot be written: File name too long"),
    ):
        refused = run.invoke(app, ["make", "1", "--log", str(tmp_path), "-o", str(output)])
        assert isinstance(refused.exception, CliError), refused.exception
        assert why in str(refused.exception)
    assert not (tmp_path / "away").exists()
    file.write_bytes(b"")
    assert run_suanli(*again, "--force", environment={"LANG": "C"}).returncode == 0
    file.write_bytes(file.read_bytes().replace(b"index 1", b"index 2"))
    refused = run.invoke(app, ["check", str(file), "--policy", str(policy)])
    assert refused.exit_code == 1
    assert run.invoke(app, ["make", "99999", "--log", str(tmp_path)]).exit_code == 2
