"""The main job: two firms, one gang over two nodes, its output, its bill, and the proof of it."""

import json
import os
import zipfile
from base64 import b64decode
from datetime import UTC, datetime

import pytest

from agents.runtime.isolation import why_no_private_view
from suanli.client import Client, Refused
from suanli.evidence.policy import format_policy
from suanli.evidence.sampling import encode_missing
from tests.builders.e2e import PYTHON, Site, api_key, key_of, suanli, wait_until
from tests.builders.evidence import honest_operator

pytestmark = pytest.mark.timeout(240)

# Rank 0 listens where all were told; every rank calls with its rank and is told what the sum of ranks is.
MEET = """
import json, os, socket, time
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")
seen = {name: int(os.environ[name]) for name in names}
seen |= {name: os.environ[name] for name in ("SUANLI_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "SUANLI_SIMULATED")}
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if seen["RANK"] == 0:
    server = socket.create_server(place)
    calls = [server.accept()[0] for _ in range(seen["WORLD_SIZE"] - 1)]
    total = sum(call.recv(1)[0] for call in calls)
    for call in calls:
        call.sendall(bytes([total]))
else:
    while True:
        try:
            call = socket.create_connection(place)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    call.sendall(bytes([seen["RANK"]]))
    total = call.recv(1)[0]
if seen["RANK"] == 0:
    report = os.environ["SUANLI_STEP_REPORT"]
    with open(report + ".new", "w") as file:
        json.dump({"step": 7, "of": 7, "loss": 0.25}, file)
    os.rename(report + ".new", report)
until = time.monotonic() + 1.5
while time.monotonic() < until:
    pass
print(json.dumps(seen | {"total": total}), flush=True)
"""


@pytest.fixture(scope="module")
def gang(site: Site) -> str:
    """A job of two nodes with two processes each that has succeeded."""
    job_id = site.submit(
        "yunhe",
        name="meeting",
        model="ascend-910b3",
        command=[PYTHON, "-c", MEET],
        gang={"devices": 4, "devices_per_node": 2},
        time_limit_seconds=300,
    )
    job = site.ended("yunhe", job_id)
    assert job["state"] == "succeeded", (job, site.output("yunhe", job_id))
    return job_id


def test_the_processes_of_two_nodes_meet_as_torchrun_would_have_them(site: Site, gang: str) -> None:
    assert sorted(site.nodes_of("yunhe", gang, 1)) == ["ascend-01", "ascend-02"]
    seen = {rank: json.loads(text) for rank, text in site.output("yunhe", gang).items()}
    assert sorted(seen) == [0, 1, 2, 3]
    for rank, process in seen.items():
        assert process["RANK"] == rank
        assert (process["GROUP_RANK"], process["LOCAL_RANK"]) == divmod(rank, 2)
        assert (process["WORLD_SIZE"], process["LOCAL_WORLD_SIZE"], process["GROUP_WORLD_SIZE"]) == (4, 2, 2)
        assert process["total"] == 1 + 2 + 3
        assert len(process["ASCEND_RT_VISIBLE_DEVICES"].split(",")) == 2
        assert process["ASCEND_RT_VISIBLE_DEVICES"] == process["SUANLI_DEVICES"]
        assert process["SUANLI_SIMULATED"] == "1"


def test_the_job_shows_the_step_that_its_program_reported(site: Site, gang: str) -> None:
    report = site.job("yunhe", gang)["step_report"]
    assert report is not None
    assert (report["step"], report["of"], report["loss"]) == (7, 7, 0.25)


def test_two_firms_do_not_see_each_other(site: Site, gang: str) -> None:
    stranger = site.people.researchers["lantian"]
    questions = (stranger.job, stranger.attempts, stranger.explain, stranger.cancel)
    for ask in (*questions, lambda job_id: list(stranger.logs(job_id))):
        with pytest.raises(Refused) as refused:
            ask(gang)
        assert refused.value.status == 404
    assert gang not in {job["job_id"] for job in stranger.jobs()}
    assert site.job("yunhe", gang)["state"] == "succeeded"


def test_what_the_gang_used_is_charged_to_its_firm_alone(site: Site, gang: str) -> None:
    site.bundle(site.people.auditor)  # once it can be had, everything until now is logged

    def lines(client: Client) -> dict[str, dict[str, int]]:
        return {line["job_id"]: line for firm in client.usage()["firms"] for line in firm["lines"]}

    # Rated a moment after it is logged.
    wait_until(lambda: lines(site.people.administrators["yunhe"])[gang]["live_ms"] >= 4 * 1500, "it is rated")
    line = lines(site.people.administrators["yunhe"])[gang]
    assert line["held_ms"] >= line["live_ms"]
    assert 0 < line["worked_ms"] <= line["live_ms"]
    assert line["requested_ms"] == 4 * 300_000
    assert line["simulated"] is site.people.researchers["yunhe"].job(gang)["simulated"] is True
    # 9.80 yuan a device hour for the time in which the devices were seen in use, rounded once.
    assert 980 * line["live_ms"] // 3_600_000 <= line["amount_fen"] <= 980 * line["held_ms"] // 3_600_000 + 1
    assert gang not in lines(site.people.administrators["lantian"])


def test_the_bundle_verifies_under_the_auditors_policy_and_never_without_one(site: Site, gang: str) -> None:
    bundle = site.bundle(site.people.auditor)
    verified = site.verify(bundle)
    assert verified.exit_code == 0, verified.verdict["findings"]
    assert verified.verdict["verified"] is True
    assert any(segment["allocation_id"] and segment["busy_ms"] for segment in verified.segments)
    without = site.verify(bundle, policy=False)
    assert without.exit_code != 0
    assert without.verdict["verified"] is False
    assert without.verdict["policy_given"] is False
    assert site.job("yunhe", gang)["state"] == "succeeded"


def test_a_firms_own_bundle_verifies_and_holds_nothing_of_others(site: Site, gang: str) -> None:
    other = site.submit("lantian", name="other", model="mlu370-x8", command="exec sleep 1.2")
    assert site.ended("lantian", other)["state"] == "succeeded"
    bundle = site.bundle(site.people.administrators["lantian"])
    verified = site.verify(bundle)
    assert verified.exit_code == 0, verified.verdict["findings"]
    attempt = site.people.researchers["yunhe"].attempts(gang)[0]
    foreign = {task["allocation_id"] for task in attempt["tasks"]}
    shown = {segment["allocation_id"] for segment in verified.segments}
    assert shown & {
        t["allocation_id"] for t in site.people.researchers["lantian"].attempts(other)[0]["tasks"]
    }
    assert not shown & foreign


def test_an_auditor_inspects_at_random_down_to_the_raw_samples_and_a_firm_its_own_part(
    site: Site, gang: str
) -> None:
    # Two parts of one device at once, and what is left of it: each has raw samples of its own.
    share = {"model": "ascend-910b3", "share": {"ppm": 250_000}}
    command = [PYTHON, "-c", "import time; time.sleep(1.5)"]
    parts = [site.submit("yunhe", name=f"part-{n}", command=command, **share) for n in range(2)]
    assert {site.ended("yunhe", job_id)["state"] for job_id in parts} == {"succeeded"}
    site.bundle(site.people.auditor)  # the log holds everything until now
    packet, policy = site.folder / "proofs.zip", str(site.cluster.policy)
    draw = (
        "sample", "--server", "--policy", policy, "--entries", "1000", "--force", "-o", str(packet), "--json",
    )  # fmt: skip
    auditor = {"SUANLI_SERVER": site.people.auditor.server, "SUANLI_API_KEY": key_of(site.people.auditor)}
    done = suanli(*draw, **auditor)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verified"] is True
    assert found["windows"] > 0
    assert found["segments_with_raw_samples"] > 0
    # The nodes gave their raw samples through their gateways, and these bear the windows out.
    assert not any("no packet is back" in said for said in found["not_proved"])
    with zipfile.ZipFile(packet.with_suffix(".samples.zip")) as archive:
        raw = {name: archive.read(name) for name in archive.namelist()}
    assert len(raw) == found["segments_with_raw_samples"]
    # One reading left out, one file withheld: the same draw again, held against what came back.
    left_out, withheld = sorted(raw)[:2]
    raw[left_out] = raw[left_out].partition(b"\n")[2]
    raw["samples/missing.json"] = encode_missing({withheld: "node host-1 has lost its disk"})
    del raw[withheld]
    with zipfile.ZipFile(site.folder / "raw.zip", "w") as archive:
        for name, data in raw.items():
            archive.writestr(name, data)
    seed = str(packet.with_suffix(".checkpoint"))
    checked = suanli(*draw, "--sample-after", seed, "--samples", str(site.folder / "raw.zip"), **auditor)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    again = json.loads(checked.stdout)
    assert again["indexes"] == found["indexes"]
    told = {finding["code"]: finding["found"] for finding in again["findings"]}
    assert set(told) == {"sample.missing", "sample.readings"}
    assert told["sample.missing"].endswith("node host-1 has lost its disk")

    firm = site.people.administrators["lantian"]
    own = suanli(*draw, **{**auditor, "SUANLI_API_KEY": key_of(firm)})
    assert own.returncode == 0, own.stdout + own.stderr
    assert json.loads(own.stdout)["withheld"] > 0
    researcher = suanli(*draw, **{**auditor, "SUANLI_API_KEY": api_key(site, "yunhe")})
    assert researcher.returncode == 1
    assert "researcher" in researcher.stderr
    (site.folder / "another.policy").write_text(format_policy(honest_operator().policy()))
    foreign = suanli(*draw, "--policy", str(site.folder / "another.policy"), **auditor)
    assert foreign.returncode == 1, "it was checked and is wrong: what was typed can be read"
    assert "want a log of the policy" in foreign.stderr
    typed = suanli(*draw, "--policy", str(site.folder / "another.policy"), "--sample-after", seed, **auditor)
    assert typed.returncode == 2
    assert "--sample-after: the policy does not vouch for this log" in typed.stderr
    early = suanli(*draw, "--to", "2099-01-01", **auditor)
    assert early.returncode == 1
    assert "the period is not closed" in early.stderr
    assert site.job("yunhe", gang)["state"] == "succeeded"


def test_an_operator_closes_a_period_and_its_bundle_shows_the_statements_that_were_logged(
    site: Site, gang: str
) -> None:
    ended = site.job("yunhe", gang)
    assert ended["state"] == "succeeded"
    from_ms, to_ms = site.verified().verdict["facts"]["period_ms"]
    begin, end, before_end = (
        datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in (from_ms, to_ms, to_ms - 1000)
    )
    place = {"SUANLI_SERVER": site.people.operator.server}
    operator = {**place, "SUANLI_API_KEY": key_of(site.people.operator)}
    auditor = {**place, "SUANLI_API_KEY": key_of(site.people.auditor)}
    refused = suanli("close", "--from", begin, "--to", end, **auditor)
    assert refused.returncode == 1
    assert "auditor" in refused.stderr
    early = suanli("close", "--from", begin, "--to", "2099-01-01", **operator)
    assert early.returncode == 1
    assert "ask again later" in early.stderr
    done = suanli("close", "--from", begin, "--to", end, "--json", **operator)
    assert done.returncode == 0, done.stdout + done.stderr
    closed = json.loads(done.stdout)
    firms = {statement["firm_id"] for statement in closed["statements"]}
    assert firms
    again = suanli("close", "--from", begin, "--to", end, **operator)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"at log size {closed['log_size']}" in again.stdout
    assert all(f"\n{statement['firm']}: " in again.stdout for statement in closed["statements"])
    assert " CNY, statement " in again.stdout
    reversed_ = suanli("close", "--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z", **operator)
    times = "got 2026-01-01 08:00:00+08:00, want a time after 2026-01-02 08:00:00+08:00"
    assert times in reversed_.stderr, reversed_.stderr
    overlapping = suanli("close", "--from", begin, "--to", before_end, **operator)
    assert overlapping.returncode == 1
    assert "is closed, and this one overlaps it" in overlapping.stderr
    file = site.folder / "closed.zip"

    def shown() -> bool:
        got = suanli("bundle", "--from", begin, "--to", end, "--force", "-o", str(file), **auditor)
        if got.returncode != 0:
            return False  # its cosignatures are on their way
        verified = site.verify(file)
        facts = verified.verdict["facts"]
        return verified.exit_code == 0 and facts["statements"] == {"firms": len(firms), "logged": len(firms)}

    wait_until(shown, "the statements are in the log")
    with zipfile.ZipFile(file) as archive:
        lines = [json.loads(line) for line in archive.read("payloads.jsonl").splitlines()]
    acts = [b64decode(json.loads(b64decode(line["payload"]))["body"]) for line in lines if line["payload"]]
    (act,) = [act for act in map(json.loads, acts) if act.get("act") == "period_closed"]
    assert (act["actor_role"], act["subject"]) == ("operator", f"{from_ms}/{to_ms}")


def test_isolation_is_said_in_every_window(site: Site, gang: str) -> None:
    expected = "none"
    if os.geteuid() == 0:
        expected = "uid" if why_no_private_view(()) else "namespace"
    windows = site.verify(site.bundle(site.people.auditor)).windows
    assert {window["isolation"] for window in windows} == {expected}
    assert {window["window_ms"] for window in windows} == {1000}
    assert site.job("yunhe", gang)["state"] == "succeeded"
