"""The witness over real HTTP and a real folder."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest
from typer.testing import CliRunner

from suanli.cli.witness import app
from suanli.evidence import merkle
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_ED25519, SigningKey, parse_verifier_key, verifier_key
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.policy import cosigners, parse_policy
from suanli.evidence.signed_note import parse_note, parse_signature_line, with_signatures
from suanli.evidence.witness import encode_request
from suanli.witness.folder import WitnessFolder
from suanli.witness.server import WitnessService, make_witness
from tests.builders.bundles import leaves_source
from tests.builders.evidence import seed
from tests.builders.running import ending, next_line, serving

LOG = SigningKey(seed("log"))
ORIGIN = "ledger.example/log"
VKEY = str(verifier_key(ORIGIN, NOTE_ED25519, LOG.public_key))
LEAVES = [merkle.leaf_hash(n.to_bytes(2, "big")) for n in range(300)]
NODE = leaves_source(LEAVES)


def _signed(size):
    head = LogCheckpoint(ORIGIN, size, merkle.root(LEAVES[:size]))
    return sign_log_checkpoint(head, LOG.public_key, LOG.sign).encode()


def _request(old, new):
    return encode_request(old, merkle.consistency_proof(old, new, NODE), _signed(new))


@pytest.fixture
def folder(tmp_path):
    made = WitnessFolder(tmp_path / "witness")
    made.create("audit.example/w1", seed("witness"))
    made.add_log(VKEY)
    return made


class Running:
    """A witness that serves on a free port of loopback."""

    def __init__(self, server, lines):
        self.server, self.lines = server, lines

    def post(self, body):
        return httpx.post(f"{self.server.url}/add-checkpoint", content=body, trust_env=False, timeout=60)

    def get(self, path):
        return httpx.get(f"{self.server.url}{path}", trust_env=False)


@contextmanager
def started(folder):
    lines = []
    with serving(make_witness(folder.path, "127.0.0.1", 0, lines.append)) as server:
        yield Running(server, lines)


@pytest.fixture
def running(folder):
    with started(folder) as witness:
        yield witness


def test_a_log_made_known_while_the_witness_serves_is_cosigned_from_then_on(tmp_path):
    folder = WitnessFolder(tmp_path / "witness")
    folder.create("audit.example/w1", seed("witness"))
    with started(folder) as witness:
        assert witness.post(_request(0, 100)).status_code == 404
        folder.add_log(VKEY)
        assert witness.post(_request(0, 100)).status_code == 200


def test_a_cosignature_is_given_and_counts_for_the_written_policy(folder, running):
    response = running.post(_request(0, 100))
    assert response.status_code == 200
    line = parse_signature_line(response.text.removesuffix("\n"))
    note = with_signatures(parse_note(_signed(100)), [line])
    policy = parse_policy(folder.write_policy().read_bytes())
    times, false_lines = cosigners(policy, note)
    assert false_lines == []
    assert policy.quorum_met(times)
    assert policy.log_key(ORIGIN) is not None


def test_the_head_survives_a_restart_and_the_old_one_is_refused(folder):
    with started(folder) as first:
        assert first.post(_request(0, 100)).status_code == 200
    with started(folder) as second:
        conflict = second.post(_request(0, 50))
        assert conflict.status_code == 409
        assert conflict.text == "100\n"
        assert conflict.headers["content-type"] == "text/x.tlog.size"
        assert second.post(_request(100, 300)).status_code == 200


def test_many_requests_at_once_never_roll_the_head_back(folder, running):
    sizes = list(range(1, 60))
    statuses = []

    def push(size):
        known = 0
        for _ in range(80):
            response = running.post(_request(known, size))
            if response.status_code != 409:
                break
            known = int(response.text)
            if known > size:
                break
        statuses.append(response.status_code)

    threads = [threading.Thread(target=push, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == len(sizes)
    assert set(statuses) <= {200, 409}
    assert folder.heads()[ORIGIN].size == max(sizes)


def test_metrics_and_health_are_served(running):
    running.post(_request(0, 100))
    running.post(b"nonsense")
    assert running.get("/healthz").text == "ok\n"
    text = running.get("/metrics").text
    assert f'suanli_witness_log_size{{origin="{ORIGIN}"}} 100' in text
    assert f'suanli_witness_answers_total{{origin="{ORIGIN}",status="200"}} 1' in text
    assert 'status="400"' in text
    assert running.get("/other").status_code == 404
    assert running.lines


def test_a_request_that_is_too_large_is_refused_unread(running):
    assert running.post(bytes((1 << 20) + 1)).status_code == 413
    assert running.get("/healthz").status_code == 200


def test_a_witness_that_lost_its_heads_refuses_to_start(folder):
    (folder.path / "heads.json").unlink()
    with pytest.raises(OSError, match="heads"):
        WitnessService(folder, lambda: 0)
    (folder.path / "heads.json").write_bytes(b"{}")
    with pytest.raises(EvidenceError, match="schema"):
        WitnessService(folder, lambda: 0)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_only_the_owner_can_read_the_folder_and_the_key(folder):
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "key").stat().st_mode) == 0o600


def test_a_second_key_for_a_known_origin_is_refused(folder):
    other = verifier_key(ORIGIN, NOTE_ED25519, SigningKey(seed("other")).public_key)
    with pytest.raises(EvidenceError, match="known before"):
        folder.add_log(str(other))
    assert str(folder.logs()[ORIGIN]) == VKEY


def test_the_command_line_makes_a_witness_and_its_policy(tmp_path):
    path = str(tmp_path / "w")
    runner = CliRunner()
    made = runner.invoke(app, ["init", "--folder", path, "--name", "audit.example/w1"])
    assert made.exit_code == 0
    assert parse_verifier_key(made.stdout.strip()).name == "audit.example/w1"
    again = runner.invoke(app, ["init", "--folder", path, "--name", "audit.example/w1"])
    assert again.exit_code == 2
    useless = runner.invoke(app, ["policy", "--folder", path])
    assert useless.exit_code == 2
    assert "suanli admin log-vkey" in useless.stderr
    assert not (tmp_path / "w" / "policy").exists()
    written = runner.invoke(app, ["policy", "--folder", path, "--log", VKEY])
    assert written.exit_code == 0
    policy = parse_policy((tmp_path / "w" / "policy").read_bytes())
    assert policy.log_key(ORIGIN) is not None
    assert policy.quorum == "auditor"


_SERVE = "from suanli.cli.witness import app; app()"


@contextmanager
def _served(folder):
    """The command itself, in a process of its own, which is killed; gives its address."""
    command = [sys.executable, "-c", _SERVE, "serve", "--folder", str(folder.path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with ending(process):
        yield next_line(process.stdout).strip().rpartition(" on ")[2]


def test_a_witness_killed_after_its_answer_still_remembers(folder):
    with _served(folder) as url:
        assert (
            httpx.post(f"{url}/add-checkpoint", content=_request(0, 100), trust_env=False).status_code == 200
        )
    with _served(folder) as url:
        again = httpx.post(f"{url}/add-checkpoint", content=_request(0, 50), trust_env=False)
        assert (again.status_code, again.text) == (409, "100\n")
