"""The command line against a real server."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select, update

from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import from_rfc3339
from scheduler.storage.job_logs import JobLogs, LogKey, Stream
from scheduler.storage.tables import InboxRow, JobStateRow
from suanli.cli.moments import billing_time
from tests.builders.api import CONFIGURATION, MODEL, ApiInThread, InhabitedUrls
from tests.builders.cli import run_suanli
from tests.builders.running import END_S, ending, next_line

JOB = f"""\
name: tune
model: {MODEL}
command: python train.py
gang:
  devices: 2
"""


@dataclass
class Shell:
    """A person at a terminal without colours."""

    api: ApiInThread
    folder: Path
    person: str | None = "lin"
    extra: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {**self.api.environment(self.person, self.folder / "home"), **self.extra}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "suanli.cli", *arguments],
            env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def run(self, *arguments: str, stdin: str = "", code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = run_suanli(*arguments, environment=self.environment(), folder=self.folder, stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, stdin: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", stdin=stdin).stdout)

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def submit(self, **lines: Any) -> str:
        spec = {"name": "tune", "model": MODEL, "command": "python train.py", **lines}
        return str(self.json("submit", "-", stdin=json.dumps(spec))["job_id"])


@pytest.fixture
def shell(inhabited_urls: InhabitedUrls, tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "home").mkdir()
    with ApiInThread(inhabited_urls, tmp_path) as api:
        yield Shell(api, tmp_path)


def give_state(shell: Shell, job_id: str, **values: Any) -> None:
    shell.api.call(shell.api.installation.set_state(job_id, **values))


def place(shell: Shell, job_id: str, devices: int = 1, share_ppm: int = 1_000_000) -> None:
    installation = shell.api.installation
    node_id, ids = shell.api.call(installation.add_node(f"node-{job_id[-6:]}"))
    shell.api.call(installation.add_attempt(job_id, node_id, ids[:devices], share_ppm=share_ppm))


def write_output(shell: Shell, job_id: str, data: bytes, local: int = 0, stream: Stream = "stdout") -> None:
    logs = JobLogs(shell.api.installation.config.job_log_folder)
    key = LogKey(shell.api.installation.firms["lanjing"], job_id, 1, 0, local, stream)
    logs.append(key, logs.stored(key), data)


def complete_output(shell: Shell, job_id: str, processes: int = 1) -> None:
    logs = JobLogs(shell.api.installation.config.job_log_folder)
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    for local in range(processes):
        for stream in streams:
            logs.complete(LogKey(shell.api.installation.firms["lanjing"], job_id, 1, 0, local, stream))


def end_job(shell: Shell, job_id: str, state: str) -> None:
    ended = update(JobStateRow).where(JobStateRow.job_id == job_id).values(state=state)
    shell.api.call(shell.api.installation.as_controller(ended))


def test_a_job_is_submitted_from_a_file_listed_and_shown(shell: Shell) -> None:
    done = shell.run("submit", shell.file("job.yaml", JOB), "--name", "other", "--priority", "high")
    job_id = done.stdout.split()[-1]
    assert done.stdout == f"Submitted other: {job_id}\n"
    listed = shell.run("jobs").stdout
    assert re.search(rf"{job_id[-12:]} +other +queued +2 {MODEL}", listed), listed
    shown = shell.run("show", "other").stdout
    assert "1 x 2 devices" in shown
    assert "2027-01-15 16:00:00 by lin" in shown
    assert "CST (UTC+08:00)" in shown
    assert shell.json("show", job_id)["spec"]["priority"] == "high"


def test_progress_is_shown_from_the_step_report(shell: Shell) -> None:
    job_id = shell.submit()
    report = {"step": 120, "of": 1000, "loss_micros": 1_234_567, "tokens": 9, "at_ms": 1}
    give_state(shell, job_id, step_report=report)
    place(shell, job_id)
    assert re.search(rf"1 {MODEL} \(simulated\) +120/1000 12% loss 1\.235", shell.run("jobs").stdout)
    assert f"{MODEL} (simulated)" in shell.run("show", "tune").stdout
    assert "120/1000 12% loss 1.235" in shell.run("show", "tune").stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (JOB.replace("command", "comand"), "line 3: comand: there is no such field; did you mean command?"),
        (
            JOB.replace("devices", "devises"),
            "line 5: gang.devises: there is no such field; did you mean devices?",
        ),
        (
            JOB.replace("gang:\n  devices: 2", "devices: 64"),
            "line 4: devices: there is no such field; did you mean gang.devices?",
        ),
        (JOB.replace("devices: 2", "devices: two"), "line 5: gang.devices: got 'two', want a whole number"),
        (JOB.replace("gang:", "gang"), "line 5: not YAML"),
        (JOB + "\tx: 1\n", "tabs"),
        (JOB + "name: again\n", "line 6: name is already on line 1"),
        (JOB + "labels: &a {x: y}\nenvironment: *a\n", "line 7: aliases"),
        (JOB + "labels: !!python/object/apply:os.system [id]\n", "not YAML"),
        (b"name: \xff\n", "line 1: not UTF-8"),
        ('name: x\ncommand: "\\ud800"\n', "line 2: not UTF-8"),
        ("", "the file is empty"),
        ("- a\n- b\n", "holds a list, want keys"),
        ("name: x\n" + " " * (1 << 20), "larger than 1048576 bytes"),
        (JOB.replace(MODEL, "ascend-910b4x"), "line 2: model: got ascend-910b4x"),
        ("x: " + "[" * 3000 + "\n", "standard input"),
    ],
    ids=range(16),
)
def test_a_wrong_job_file_is_one_sentence_with_its_line(
    shell: Shell, content: str | bytes, says: str
) -> None:
    name = shell.file("job.yaml", content)
    done = shell.run("submit", name, code=2)
    assert done.stderr.startswith("suanli: job.yaml"), done.stderr
    assert says in done.stderr or says == "standard input"
    assert done.stdout == ""


def test_words_that_yaml_would_turn_into_something_else_stay_as_written(shell: Shell) -> None:
    environment = 'environment: {A: on, B: no, C: 1:30, D: "010", E: 2026-01-01, F: 012, G: 0x1f, H: 1_000}\n'
    job = shell.json("submit", shell.file("job.yaml", JOB + environment))
    assert job["spec"]["variants"][0]["environment"] == {
        "A": "on", "B": "no", "C": "1:30", "D": "010", "E": "2026-01-01", "F": "012", "G": "0x1f", "H": "1_000",
    }  # fmt: skip


def test_a_missing_file_a_wrong_option_and_a_missing_verb_are_said(shell: Shell) -> None:
    assert "nothing.yaml: No such file" in shell.run("submit", "nothing.yaml", code=2).stderr
    assert "No such option" in shell.run("jobs", "--nope", code=2).stderr
    assert "No such command" in shell.run("sumbit", code=2).stderr
    assert "got 'jan'" in shell.run("usage", "--from", "jan", code=2).stderr


def test_a_server_that_is_not_there_a_wrong_key_and_no_profile_are_said(shell: Shell) -> None:
    shell.extra = {"SUANLI_SERVER": "http://127.0.0.1:9"}
    assert "cannot reach http://127.0.0.1:9" in shell.run("jobs", code=1).stderr
    shell.extra = {"SUANLI_API_KEY": "sk_" + "a" * 43}
    refused = shell.run("jobs", code=1).stderr
    assert "refused the API key" in refused
    assert "a" * 43 not in refused
    shell.extra = {"SUANLI_API_KEY": "hello"}
    assert "does not look like one" in shell.run("jobs", code=2).stderr
    shell.person, shell.extra = None, {}
    assert "no server is known: run 'suanli login SERVER'" in shell.run("jobs", code=2).stderr


def test_with_json_errors_are_json_too(shell: Shell) -> None:
    error = json.loads(shell.run("show", "nothing-like-it", "--json", code=1).stderr)
    assert "there is no job" in error["error"]["detail"]
    spec = json.dumps({"name": "x", "model": MODEL, "command": "x", "gang": {"devices": 0}})
    refused = json.loads(shell.run("submit", "-", "--json", stdin=spec, code=2).stderr)
    assert "gang.devices: got 0" in refused["error"]["detail"]
    gone = json.loads(shell.run("keys", "revoke", "nothing", "--json", code=1).stderr)
    assert (gone["error"]["status"], gone["error"]["code"]) == (404, "not_found")


def test_login_stores_a_profile_that_only_its_owner_can_read(shell: Shell) -> None:
    key = shell.api.installation.keys["wang"]
    shell.person = None
    done = shell.run("login", shell.api.url, "--name", "site", stdin=key + "\n")
    assert "You are wang, firm administrator of lanjing" in done.stdout
    path = shell.folder / "home/.config/suanli/profiles.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key not in done.stdout + done.stderr
    who = shell.json("whoami")
    assert (who["name"], who["server"]) == ("wang", shell.api.url)

    shell.file("key", shell.api.installation.keys["ops"] + "\n")
    shell.run("login", shell.api.url, "--name", "ops", "--key-file", "key")
    assert shell.json("whoami")["name"] == "ops"
    assert shell.json("whoami", "--profile", "site")["name"] == "wang"
    shell.run("profile", "use", "site")
    assert shell.json("whoami")["name"] == "wang"
    assert [p["name"] for p in shell.json("profile", "list")] == ["ops", "site"]
    shell.run("profile", "remove", "site")
    assert "there is no profile 'site'" in shell.run("whoami", "--profile", "site", code=2).stderr
    path.chmod(0o644)
    assert "chmod 600" in shell.run("whoami", code=2).stderr


def test_login_refuses_a_key_that_does_not_work_and_stores_nothing(shell: Shell) -> None:
    shell.person = None
    wrong = shell.run("login", shell.api.url, stdin="sk_" + "b" * 43, code=1)
    assert "refused the API key" in wrong.stderr
    assert "must be an URL" in shell.run("login", "localhost:8000", stdin="x", code=2).stderr
    assert not (shell.folder / "home/.config/suanli/profiles.toml").exists()


def test_output_of_several_processes_is_whole_lines_with_their_rank(shell: Shell) -> None:
    job_id = shell.json("submit", shell.file("job.yaml", JOB))["job_id"]
    give_state(shell, job_id)
    place(shell, job_id, 2)
    write_output(shell, job_id, b"one\ntw", 0)
    write_output(shell, job_id, b"three\n", 1, "stderr")
    assert shell.run("logs", "tune").stdout.splitlines() == ["[0] one", "[1 err] three", "[0] tw"]
    assert shell.run("logs", "tune", "--rank", "0").stdout == "one\ntw"
    assert shell.run("logs", "tune", "--stderr").stdout == "[1 err] three\n"
    first = json.loads(shell.run("logs", "tune", "--json").stdout.splitlines()[0])
    assert (first["rank"], first["text"]) == (0, "one\ntw")


def test_what_a_job_prints_cannot_act_on_the_terminal(shell: Shell) -> None:
    job_id = shell.submit()
    give_state(shell, job_id)
    place(shell, job_id)
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\r\nab\rcd\x9b31m\u202etxt\n"
    write_output(shell, job_id, evil.encode())
    done = shell.run("logs", "tune").stdout
    assert done == "␛]0;owned␇␛[2Jred\nab\ncd\\x9b31m\\u202etxt\n"
    assert shell.run("logs", "tune", "--raw").stdout == evil.replace("\r\n", "\n").replace("\r", "\n")


def test_following_shows_output_as_it_comes_and_ends_with_the_jobs_own_verdict(shell: Shell) -> None:
    for state, code in (("succeeded", 0), ("failed", 1)):
        name = f"job-{state}"
        typed = ("submit", shell.file("job.yaml", JOB), "--follow", "--name", name)
        with ending(shell.start(*typed)) as following:
            job_id = next_line(following.stderr).removeprefix(f"Submitted {name}: ").strip()
            # What it says of a job that waits, it must have asked before the job waits no more.
            assert next_line(following.stderr) == "The job waits: the planner has not looked at it yet.\n"
            give_state(shell, job_id)
            place(shell, job_id, 2)
            write_output(shell, job_id, b"step 1\n")
            assert next_line(following.stdout) == "[0] step 1\n"
            complete_output(shell, job_id, 2)
            end_job(shell, job_id, state)
            _, errors = following.communicate(timeout=END_S)
            assert following.returncode == code
            assert f"The job {state}" in errors


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_leaving_a_followed_job_leaves_the_job_alone(shell: Shell) -> None:
    with ending(shell.start("submit", shell.file("job.yaml", JOB), "--follow")) as following:
        assert next_line(following.stderr).startswith("Submitted tune")
        next_line(following.stderr)
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=END_S)
        assert following.returncode == 130
    assert "The job goes on." in errors
    assert "Traceback" not in errors
    assert shell.json("jobs")[0]["cancel_requested"] is False


def test_cancel_and_explain_speak_of_the_job_that_was_named(shell: Shell) -> None:
    job_id = shell.submit()
    assert "the planner has not looked at it yet" in shell.run("explain", job_id[-8:]).stdout
    assert "Asked for tune" in shell.run("cancel", "tune").stdout

    async def asked() -> list[str]:
        async with shell.api.installation.api.database.read() as session:
            return list(await session.scalars(select(InboxRow.kind)))

    assert "CancelRequested" in shell.api.call(asked())
    missing = shell.run("cancel", "tuna", code=1).stderr
    assert "there is no job tuna; did you mean tune?" in missing
    end = shell.submit(name="ended")
    give_state(shell, end, state="failed", exit_code=3, reason="exited_nonzero")
    assert "The job failed (exited_nonzero, exit code 3)." in shell.run("explain", "ended").stdout
    assert "has ended already: failed" in shell.run("cancel", "ended", code=1).stderr


def test_a_job_that_cannot_be_acted_on_does_not_keep_the_verb_from_those_typed_behind_it(
    shell: Shell,
) -> None:
    give_state(shell, shell.submit(name="ended"), state="failed")
    waits = [shell.submit(name=name) for name in ("one", "two")]
    said = shell.run("cancel", "ended", "one", "tuna", "two", code=1)
    assert [line.split()[2] for line in said.stdout.splitlines()] == ["one", "two"]
    assert "has ended already: failed" in said.stderr
    assert "there is no job tuna" in said.stderr
    told = shell.run("hold", "tuna", *waits, "--json", code=1)
    assert [job["job_id"] for job in json.loads(told.stdout)] == waits
    assert "there is no job tuna" in json.loads(told.stderr)["error"]["detail"]


def test_verbs_that_act_take_the_newest_job_of_a_name_that_has_not_ended(shell: Shell) -> None:
    def later(**lines: Any) -> str:
        shell.api.installation.clock.now_ms += 1_000
        return shell.submit(name="long", **lines)

    old, running, over = later(), later(), later()
    give_state(shell, old, state="running")
    give_state(shell, running, state="running")
    give_state(shell, over, state="succeeded")
    for act in (["cancel"], ["hold"], ["release"], ["set", "--priority", "high"], ["requeue"]):
        told = shell.json(act[0], "long", *act[1:])
        assert (told if act[0] == "set" else told[0])["job_id"] == running, act
    assert shell.json("show", "long")["job_id"] == over
    for job_id in (old, running):
        end_job(shell, job_id, "failed")
    assert "has ended already: succeeded" in shell.run("cancel", "long", code=1).stderr
    give_state(shell, later(array={"count": 2}), state="running")
    give_state(shell, later(), state="failed")
    assert re.match(r"The 2 jobs of array \S+ are held\.", shell.run("hold", "long").stdout)


def test_who_sees_the_jobs_of_all_firms_says_which_is_meant(shell: Shell) -> None:
    ours = shell.submit(name="train")
    zhao = Shell(shell.api, shell.folder, person="zhao")
    theirs = zhao.submit(name="train")
    assert shell.json("explain", "train")["job_id"] == ours, "a firm's people mean their own"
    assert shell.json("explain", "lanjing/train")["job_id"] == ours
    assert "there is no job beiming/train" in shell.run("explain", "beiming/train", code=1).stderr
    shell.person = "ops"
    said = "jobs of 2 firms are called train: type one of beiming/train, lanjing/train, or an id"
    for verb in ("explain", "show", "cancel", "hold"):
        assert said in shell.run(verb, "train", code=1).stderr, verb
    assert shell.json("explain", "beiming/train")["job_id"] == theirs
    assert shell.json("explain", "lanjing/train")["job_id"] == ours
    assert "there is no job lanjing/none" in shell.run("explain", "lanjing/none", code=1).stderr
    for typed, meant in (("nix/train", None), ("lanjin/trian", "lanjing"), ("beiming/tarin", "beiming")):
        said = shell.run("hold", typed, code=1).stderr
        assert re.search(rf"did you mean {meant or '(lanjing|beiming)'}/train\?", said), said
    for typed in ("lanjing/xyz", "nix/twin", "twin"):
        assert "did you mean" not in shell.run("hold", typed, code=1).stderr, typed
    give_state(shell, ours, state="failed")
    assert shell.json("cancel", "train")[0]["job_id"] == theirs, "the only one that has not ended"


def test_operators_apply_a_file_and_see_the_difference(shell: Shell) -> None:

    shell.person = "ops"
    file = shell.file(
        "site.yaml", yaml.safe_dump({**CONFIGURATION, "pools": [{"name": "haidian", "patience_seconds": 5}]})
    )
    dry = shell.run("apply", "-f", file, "--dry-run").stdout
    assert "patience_seconds: 30 -> 5" in dry
    assert "1 would change" in dry
    assert "1 changed" in shell.run("apply", "-f", file).stdout
    assert "0 changed" in shell.run("apply", "-f", file).stdout
    wrong = shell.file(
        "wrong.yaml", "prices:\n  - model: ascend-910b3\n    price_cny_per_device_hour: 12.5\n"
    )
    said = shell.run("apply", "-f", wrong, code=2).stderr
    assert "wrong.yaml, line 3: prices[0].price_cny_per_device_hour: got 12.5" in said
    rack = "maintenance:\n- {name: rack, nodes: [node-1], from: '2027-02-01T08:00:00Z', until: '%s'}\n"
    shell.run("apply", "-f", shell.file("rack.yaml", rack % "2027-02-02T08:00:00Z"))
    later = shell.run("apply", "-f", shell.file("rack.yaml", rack % "2027-02-03T08:00:00+08:00")).stdout
    assert "until: 2027-02-02 16:00:00+08:00 -> 2027-02-03 08:00:00+08:00" in later
    past = shell.run(
        "apply", "-f", shell.file("rack.yaml", rack % "2026-02-02T08:00:00+08:00"), code=2
    ).stderr
    assert "maintenance[0].until: got '2026-02-02T08:00:00+08:00', want a time after from" in past
    begun = shell.file("rack.yaml", (rack % "2027-01-02T08:00:00+08:00").replace("2027-02", "2026-02"))
    past = shell.run("apply", "-f", begun, code=2).stderr
    assert "until: got 2027-01-02 08:00:00+08:00, want a time after now (2027-01-15 16:00:00+08:00)" in past
    shell.person = "lin"
    assert "apply" not in shell.run("apply", "-f", file, code=1).stdout


def test_what_there_is_fits_a_narrow_terminal(shell: Shell) -> None:
    shell.extra = {"COLUMNS": "60"}
    shell.submit(name="a-job-with-a-very-long-name-that-does-not-fit-the-terminal")
    for verb in ("jobs", "nodes", "models", "pools", "prices", "queues", "events", "usage"):
        done = shell.run(verb)
        assert max((len(line) for line in done.stdout.splitlines()), default=0) <= 100, verb
        if verb in ("jobs", "nodes", "models", "pools", "prices", "queues"):
            assert max(len(line) for line in done.stdout.splitlines()) <= 60, done.stdout
    shell.person = "ops"
    assert "node-1" in shell.run("nodes").stdout
    assert shell.json("nodes")["nodes"][0]["devices"][0]["simulated"] is True


def test_a_queue_shows_between_which_moments_its_jobs_start(shell: Shell) -> None:
    job_id = shell.submit(name="tune")
    assert re.search(r" tune .* - +not planned yet", shell.run("queue").stdout)
    give_state(shell, job_id, state="queued", attempt=0, device_model=None)
    begin_ms, hour_ms = from_rfc3339("2027-01-15T08:00:00Z"), 3_600_000
    told = {
        "starts_from_ms": begin_ms,
        "starts_expected_ms": begin_ms + 1,
        "starts_until_ms": begin_ms + hour_ms,
    }
    shell.api.call(
        shell.api.installation.add_report(
            job_id, reasons=[WhyNot(Reason.DEVICES_BUSY, "busy").to_json()], **told
        )
    )
    shell.extra = {"TZ": "Asia/Shanghai"}
    listed = shell.run("queue", "lanjing/default").stdout
    assert "STARTS (80 %), CST (UTC+08:00)" in listed
    assert re.search(r" tune .* 2027-01-15 16:00 - 2027-01-15 17:00  busy", listed)
    explained = shell.run("explain", "tune").stdout
    assert "most likely about 2027-01-15 16:00:00; times in CST (UTC+08:00)." in explained
    kept = shell.submit(name="kept")
    give_state(shell, kept, state="queued", attempt=0, device_model=None, held=True)
    assert "\nIt would run if it is released\n" in shell.run("explain", "kept").stdout


def test_parts_of_devices_are_shown_as_parts(shell: Shell) -> None:
    job_id = shell.submit(name="quarter", share={"ppm": 250_000})
    give_state(shell, job_id, state="running", attempt=1, device_model=MODEL)
    place(shell, job_id, share_ppm=250_000)
    gang = {"devices": 2, "devices_per_node": 1}  # on the node that came with the first job, and the other
    waiting = shell.submit(name="pair", share={"ppm": 125_000}, gang=gang)
    listed = {line.split()[1]: line for line in shell.run("jobs").stdout.splitlines()[1:]}
    assert f" 0.25 {MODEL} " in listed["quarter"]
    assert f" 2 x 0.125 {MODEL} " in listed["pair"]
    assert f" 2 x 0.125 {MODEL} " in shell.run("queue").stdout
    shown = shell.run("show", job_id).stdout
    assert re.search(r"^Gang +1 x 0\.25 devices$", shown, re.M)
    assert re.search(rf" {MODEL} 0 \(0\.25\) ", shown)
    assert re.search(r"^Gang +2 x 0\.125 devices$", shell.run("show", waiting).stdout, re.M)

    counts = shell.json("pools")[0]["devices"][0]
    assert (counts["in_use"], counts["in_use_ppm"], counts["free_parts_ppm"]) == (1, 250_000, 750_000)
    free = f"{counts['devices'] - 1} \\+ 0\\.75 in parts"
    assert re.search(rf"\(simulated\) +{free} +0\.25 +lanjing/default", shell.run("pools").stdout)
    assert re.search(rf"{free}$", shell.run("nodes").stdout, re.M)
    assert re.search(r" 0\.25 quarter ", shell.run("nodes").stdout)
    assert "YOUR DEVICES" in shell.run("nodes").stdout
    assert "YOUR DEVICES" not in Shell(shell.api, shell.folder, "ops").run("nodes").stdout


def test_pools_and_prices_are_listed_as_the_firm_sees_them(shell: Shell) -> None:
    shell.person = "ops"
    program = {
        "program_id": "city", "title": "City vouchers", "legal_reference": "No. 1",
        "effective_from": "2026-01-01T00:00:00+08:00", "usage_measure": "live",
    }  # fmt: skip
    offer = {
        "programs": [
            {**program, "version": 1, "rate": "0.3"},
            {**program, "version": 2, "rate": "0.125", "domestic_only": True, "per_firm_cap_cny": "2000.00"},
            {**program, "version": 3, "rate": "0.5", "effective_from": "2040-01-01T00:00:00+08:00"},
        ],
        "reservations": [
            {
                "name": "demo",
                "firm": "lanjing",
                "pool": "haidian",
                "from": "2027-01-16T16:00:00+08:00",
                "until": "2027-01-16T17:00:00+08:00",
            }
        ],
    }
    shell.run("apply", "-f", shell.file("offer.json", json.dumps(offer)))
    shell.person = "lin"
    job_id = shell.submit()
    give_state(shell, job_id, state="running", attempt=1)
    place(shell, job_id, devices=2)
    (pool,) = shell.json("pools")
    held = pool["devices"][0]
    assert (pool["name"], held["device_model"], held["in_use"]) == ("haidian", MODEL, 2)
    assert held["devices"] - held["free"] == 2
    assert pool["queues"] == ["lanjing/default"]
    assert re.search(
        rf"^haidian +{MODEL} +{held['devices']} \(simulated\) +{held['free']} +2 ",
        shell.run("pools").stdout,
        re.M,
    )
    assert re.search(rf"^{MODEL} .* {held['devices']} \(simulated\)", shell.run("models").stdout, re.M)
    assert "tune is held" not in (held_once := shell.run("hold", "tune").stdout)
    assert "its attempt goes on, and no other starts before suanli release" in held_once

    offered = shell.json("prices")
    (price,) = [price for price in offered["prices"] if price["device_model"] == MODEL]
    supported = [{"program_id": "city", "version": 2, "rate_ppm": 125_000, "usage_measure": "live"}]
    assert price["programs"] == supported
    assert [program["version"] for program in offered["programs"]] == [2]
    shell.extra = {"TZ": "America/New_York"}  # whose clock is not the one of the bills
    said = shell.run("prices").stdout
    assert said.count("SINCE, Asia/Shanghai (UTC+08:00)") == 2
    assert f" {billing_time(price['effective_from'])} " in said
    planned = shell.run("calendar").stdout
    assert re.search(r"FROM, Asia/Shanghai \(UTC\+08:00\) +UNTIL", planned)
    assert re.search(r"2027-01-16 16:00:00 +2027-01-16 17:00:00", planned)
    assert re.search(rf"^{MODEL} +{price['price_cny_per_device_hour']} .*12.5 % city v2", said, re.M)
    assert re.search(r"^city +2 +12.5 % of live use +2,000.00 .*City vouchers", said, re.M)
    assert re.search(r"^city +3 +50 %", shell.run("prices", "--all").stdout, re.M)
    assert "QUEUE: got nope, want one of: default" in shell.run("queue", "nope", code=2).stderr
    shell.extra = {"LANG": "zh_CN.UTF-8"}
    assert "元/小时" in shell.run("prices").stdout
    assert shell.run("secret", "delete", "nix", code=1).stderr == "suanli: 未找到：没有密钥 nix\n"


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_jobs_of_what_is_not_there_are_no_empty_list(shell: Shell, watch: list[str]) -> None:
    shell.submit()
    shell.submit(name="sweep", array={"count": 2})
    for option, name, code, said in (
        ("--queue", "nope", 2, "--queue: got nope, want one of: default"),
        ("--project", "visoin", 2, "--project: got visoin, want one of: default, vision"),
        ("--by", "linn", 2, "--by: got linn, want a person or token, perhaps lin"),
        ("--by", "zhao", 2, "--by: got zhao, want a person or token"),  # of another firm
        ("--array", "sweeb", 1, "there is no array sweeb; did you mean sweep?"),
        ("--array", "01a21ddd-7d66-7baa-9eca-6c1b72f3c4ed", 1, "there is no array 01a21ddd"),
    ):
        done = shell.run("jobs", option, name, *watch, code=code)
        assert done.stdout == ""
        assert done.stderr.startswith(f"suanli: {said}"), done.stderr
        assert option == "--array" or done.stderr == f"suanli: {said}\n"


def test_jobs_of_what_is_there_may_be_none(shell: Shell) -> None:
    shell.submit(name="sweep", array={"count": 2})
    for option, name in (("--queue", "default"), ("--project", "vision"), ("--by", "wang")):
        assert shell.run("jobs", option, name, "--state", "ended").stdout == "No jobs.\n"
    assert len(shell.json("jobs", "--array", "sweep")) == 2


def test_keys_users_and_join_tokens_are_made_and_ended(shell: Shell) -> None:
    shell.person = "ops"
    shell.run("users", "create", "new.one", "--role", "researcher", "--firm", "lanjing")
    key = shell.run("keys", "create", "new.one").stdout.strip()
    shell.extra = {"SUANLI_API_KEY": key}
    assert shell.json("whoami")["name"] == "new.one"
    shell.extra = {}
    assert "new.one" in shell.run("users", "list").stdout
    made = next(k for k in shell.json("keys", "list") if k["principal"] == "new.one")
    assert re.search(rf"{made['api_key_id']} +new.one +everything", shell.run("keys", "list").stdout)
    shell.run("keys", "revoke", made["api_key_id"])
    shell.run("users", "disable", "new.one")
    assert shell.run("join-token", "haidian").stdout.startswith("sjt_")
    assert "there is no pool" in shell.run("join-token", "nowhere", code=1).stderr
    shell.run("cordon", "node-1")


def test_usage_and_bundle_of_an_empty_log_say_so(shell: Shell) -> None:
    shell.person = "audit"
    assert "No usage." in shell.run("usage").stdout
    assert "No devices." in shell.run("usage", "--balance").stdout
    assert "holds nothing yet" in shell.run("bundle", code=1).stderr
    assert not list(shell.folder.glob("*.zip*"))
    kept = shell.folder / "kept.zip"
    kept.write_bytes(b"evidence")
    assert "kept.zip exists" in shell.run("bundle", "-o", str(kept), code=2).stderr
    assert "holds nothing yet" in shell.run("bundle", "--force", "-o", str(kept), code=1).stderr
    assert kept.read_bytes() == b"evidence"


def test_what_money_is_missing_is_said_with_when_there_is_more_on_this_clock(shell: Shell) -> None:
    Shell(shell.api, shell.folder, "wang").run("budget", "set", "0.01", "--project", "vision")
    job = {"name": "poor", "model": MODEL, "command": "true", "project": "vision"}
    said = shell.run("validate", "-", stdin=json.dumps(job)).stdout
    assert re.search(
        rf"^It would run now on {MODEL}, with \d+\.\d\d CNY more for project vision;"
        r" its next budget begins at 2027-02-01 00:00:00$",
        said,
        re.M,
    ), said


def test_another_amount_leaves_the_period_of_a_budget_as_it_is(shell: Shell) -> None:
    wang = Shell(shell.api, shell.folder, person="wang")

    def set_budget(*words: str) -> str:
        made = json.loads(wang.run("budget", "set", *words, "--project", "vision", "--json").stdout)
        return made["period"]

    assert set_budget("5000") == "month"
    assert set_budget("5000", "--per", "year") == "year"
    assert set_budget("7000") == "year"


def test_what_is_wrong_is_named_as_it_was_typed_and_for_programs_as_the_wire_names_it(shell: Shell) -> None:
    wang = Shell(shell.api, shell.folder, person="wang")
    refused = wang.run("budget", "set", "12,5", "--project", "vision", code=2).stderr
    assert refused.startswith("suanli: AMOUNT: got '12,5', want a decimal number")
    for act in (("set", "10"), ("remove",)):
        typo = wang.run("budget", *act, "--project", "vison", code=2).stderr
        assert typo == "suanli: --project: got vison, want one of: default, vision\n"
        typo = wang.run("budget", *act, "--firm", "lanjin", "--project", "vision", code=2).stderr
        assert typo == "suanli: --firm: got lanjin, want one of: lanjing\n"
    own = wang.run("budget", "set", "12.50", code=1).stderr
    assert own.endswith(
        "may not set budgets of firms; these may: operator; you may set the budgets of the firm's projects\n"
    )
    job_id = shell.submit()
    for options, said in (
        (("--time-limit", "long"), "suanli: --time-limit: got 'long', want "),
        (("--budget", "-1", "--priority", "top"), "suanli: --priority: got 'top', want "),
    ):
        assert shell.run("set", job_id, *options, code=2).stderr.startswith(said)
    wire = json.loads(shell.run("set", job_id, "--time-limit", "long", "--json", code=2).stderr)
    assert wire["error"]["errors"][0]["field"] == "time_limit_seconds"


def test_jobs_are_watched_line_by_line_where_there_is_no_terminal(shell: Shell) -> None:
    job_id = shell.submit()
    with ending(shell.start("jobs", "--watch")) as watching:
        assert next_line(watching.stdout).split()[:3] == ["JOB", "NAME", "STATE"]
        assert next_line(watching.stdout).split()[1:3] == ["tune", "queued"]
        give_state(shell, job_id, state="running", attempt=1)
        shell.api.call(shell.api.installation.add_event(1, "JobStarted", job_id))
        assert next_line(watching.stdout).split()[1:3] == ["tune", "running"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0


def test_programs_watch_jobs_as_lines_of_json(shell: Shell) -> None:
    job_id = shell.submit()
    with ending(shell.start("jobs", "--watch", "--json")) as watching:
        first = json.loads(next_line(watching.stdout))
        assert (first["job_id"], first["state"]) == (job_id, "queued")
        give_state(shell, job_id, state="running", attempt=1)
        shell.api.call(shell.api.installation.add_event(1, "JobStarted", job_id))
        assert json.loads(next_line(watching.stdout))["state"] == "running"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0


def test_a_job_is_shown_until_it_has_ended(shell: Shell) -> None:
    job_id = shell.submit()
    give_state(shell, job_id, state="running", attempt=1)
    shell.api.call(shell.api.installation.add_event(1, "JobStarted", job_id))
    with ending(shell.start("show", "--follow", "tune")) as showing:
        seen = ""
        while "JobStarted" not in seen:
            line = next_line(showing.stdout)
            assert line, f"it has ended: {seen}"
            seen += line
        end_job(shell, job_id, "failed")
        shell.api.call(shell.api.installation.add_event(2, "JobFailed", job_id))
        rest, _ = showing.communicate(timeout=30)
    assert showing.returncode == 1
    assert "State" in seen
    assert re.search(r"^State +failed$", rest, re.M)


def test_output_begins_with_its_last_lines_and_is_saved_as_it_was_written(shell: Shell) -> None:
    job_id = shell.submit()
    give_state(shell, job_id, state="running", attempt=1)
    place(shell, job_id)
    write_output(shell, job_id, b"one\ntwo\n\x1b[31mthree\n")
    assert shell.run("logs", "tune", "--tail", "2").stdout == "two\nthree\n"  # colours are dropped
    assert shell.run("logs", "tune", "--since", "10m", "--tail", "1").stdout == "three\n"
    assert "one\n" in shell.run("logs", "tune", "--since", "2026-11-26T03:00").stdout
    assert (
        "--rank: got 1, want one of the job's 1 process"
        in shell.run("logs", "tune", "--rank", "1", code=2).stderr
    )
    assert "--attempt: got 2, the newest" in shell.run("logs", "tune", "--attempt", "2", code=2).stderr
    refused = shell.run("logs", "tune", "--since", "soon", code=2)
    assert "--since: got 'soon', want how long ago, like 10m or 2h" in refused.stderr
    assert " 19 bytes of them new" in shell.run("logs", "tune", "--download", "saved").stdout
    assert (shell.folder / "saved/attempt-1/0.stdout").read_bytes() == b"one\ntwo\n\x1b[31mthree\n"
    write_output(shell, job_id, b"four\n")
    assert " 5 bytes of them new" in shell.run("logs", "tune", "--download", "saved").stdout


def test_the_name_of_an_array_stands_for_all_of_its_jobs_and_a_number_for_one(shell: Shell) -> None:
    shell.run("submit", shell.file("array.yaml", JOB + "array: {count: 3}\n"), "--name", "many")
    told = shell.run("hold", "many").stdout
    assert re.match(r"The 3 jobs of array \S+ are held\.", told), told
    assert "many" in shell.run("hold", "many[1]").stdout
    assert shell.json("show", "many[1]")["array_index"] == 1
    assert "array many has no job [3]: they are counted from 0" in shell.run("hold", "many[3]", code=1).stderr
    assert "there is no array none" in shell.run("show", "none[0]", code=1).stderr
    for verb in ("show", "explain"):
        assert re.search(
            r"many is an array of 3 jobs; this is many\[\d\] of it", shell.run(verb, "many").stderr
        )
        assert "an array" not in shell.run(verb, "many[1]").stderr
    assert "more than these 2 jobs" in shell.run("jobs", "-n", "2").stderr
    assert shell.run("jobs", "-n", "3").stderr == ""
    for job in shell.json("jobs"):
        give_state(shell, job["job_id"], state="succeeded")
    assert re.match(r"No job of array \S+ was changed: they have ended", shell.run("cancel", "many").stdout)


def test_a_batch_is_validated_as_it_would_be_submitted(shell: Shell) -> None:
    good = shell.file("good.yaml", "jobs:\n- {name: a, model: ascend-910b3, command: x}\n")
    assert shell.run("validate", good).stdout == "good.yaml is a valid batch of 1 job.\n"
    job = "- {name: b, model: ascend-910b3, command: x,\n   gang: {devices: 512}}\n"
    bad = shell.file("bad.yaml", f"atomic: false\njobs:\n{job}{job}- {{name: c}}\n")
    said = shell.run("validate", bad, code=1)
    assert "bad.yaml, line 4: jobs[0].gang.devices: got 512, want 8, as in the nearest" in said.stdout
    assert "jobs[1]: the job could never start: asks for 1 node with 512 ascend-910b3" in said.stdout
    assert said.stdout.endswith("Of 3 entries of bad.yaml, 3 would be refused.\n")
    assert said.stdout.startswith(shell.run("submit", bad, code=1).stdout.removesuffix("Submitted 0 jobs.\n"))
    assert shell.json("jobs") == []
    unsure = shell.file("unsure.yaml", f"atomic: maybe\njobs:\n{job}")
    assert "line 1: atomic: got 'maybe', want true or false" in shell.run("validate", unsure, code=2).stderr
    empty = shell.file("empty.yaml", "jobs: []\n")
    assert "jobs: got [], want a list of 1 to 10000 jobs" in shell.run("validate", empty, code=2).stderr
    shell.file("none.yaml", "jobs: 3\n")
    assert "none.yaml: want `jobs:` with a list of jobs" in shell.run("validate", "none.yaml", code=2).stderr
