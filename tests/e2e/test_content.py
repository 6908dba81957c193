"""Code and data along with a job, and what the job leaves, there and back again."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from suanli.client import Refused
from suanli.client.client import Client
from suanli.client.content import FolderError, part_of
from suanli.content.manifest import OBJECT_BYTES, FileEntry, Manifest, hash_of
from tests.builders.e2e import Site, api_key, suanli, wait_until

pytestmark = pytest.mark.timeout(240)

# Says what lies in its folder, and leaves something behind.
PROGRAM = """
import hashlib, json, os, pathlib
here = pathlib.Path(".")
found = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(here.rglob("*")) if p.is_file()}
owners = {p.stat().st_uid for p in here.rglob("*")}
out = pathlib.Path(os.environ["SUANLI_OUTPUT_DIR"])
(out / "deep").mkdir()
(out / "deep" / "weights.bin").write_bytes(bytes(range(256)) * 20000)
(out / "empty").touch()
(out / "link").symlink_to("/etc/passwd")
here.joinpath("report").mkdir()
here.joinpath("report/loss.txt").write_text("1.25")
print(json.dumps({"found": found, "owners": sorted(owners), "uid": os.getuid(), "cwd": os.getcwd()}), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A researcher's folder."""
    here = tmp_path / "project"
    (here / "src").mkdir(parents=True)
    (here / "src" / "main.py").write_text(PROGRAM)
    (here / "data.bin").write_bytes(os.urandom(OBJECT_BYTES + 1234))
    (here / "run.sh").write_text("#!/bin/sh\nexec /usr/bin/python3 src/main.py\n")
    (here / "run.sh").chmod(0o755)
    (here / "nothing").touch()
    (here / "same.py").symlink_to("src/main.py")
    (here / "__pycache__").mkdir()
    (here / "__pycache__" / "main.pyc").write_bytes(b"x")
    (here / "huge.bin").write_bytes(b"left out")
    (here / ".suanliignore").write_text("huge.bin\n")
    return here


def client_of(site: Site, firm: str = "yunhe") -> Client:
    return site.people.researchers[firm]


def environment(site: Site, firm: str = "yunhe") -> dict[str, str]:
    return {"SUANLI_SERVER": site.cluster.api, "SUANLI_API_KEY": api_key(site, firm)}


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: along\nproject: research\nmodel: ascend-910b3\ncommand: [./run.sh]\noutputs: [{path: report}]\n"
    )
    return path


def test_a_folder_goes_along_and_results_come_back(
    site: Site, folder: Path, job_file: Path, tmp_path: Path
) -> None:
    done = suanli("submit", str(job_file), "--upload", str(folder), "--json", **environment(site))
    assert done.returncode == 0, done.stderr
    assert "were new" in done.stderr
    job_id = json.loads(done.stdout)["job_id"]
    job = site.ended("yunhe", job_id)
    assert job["state"] == "succeeded", (job, site.output("yunhe", job_id))
    said = json.loads(site.output("yunhe", job_id)[0])
    wanted = {"src/main.py", "same.py", "data.bin", "run.sh", "nothing", ".suanliignore"}
    assert set(said["found"]) == wanted
    for path in wanted:
        assert said["found"][path] == hashlib.sha256((folder / path).read_bytes()).hexdigest()
    assert said["owners"] == [said["uid"]]
    assert said["cwd"].endswith("/work")

    target = tmp_path / "back"

    def fetched() -> bool:
        got = suanli("fetch", job_id, "-o", str(target), **environment(site))
        if got.returncode == 0:
            assert "link" in got.stderr  # it is said that a link was left out
        return got.returncode == 0

    wait_until(fetched, "the results are collected")
    files = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert files == {
        "deep/weights.bin": bytes(range(256)) * 20000,
        "empty": b"",
        "report/loss.txt": b"1.25",
    }
    (target / "report/loss.txt").write_bytes(b"my own")
    refused = suanli("fetch", job_id, "-o", str(target), **environment(site))
    assert refused.returncode == 2
    assert f"{target / 'report/loss.txt'} exists: give another --to, or --force" in refused.stderr
    assert (target / "report/loss.txt").read_bytes() == b"my own"
    assert suanli("fetch", job_id, "-o", str(target), "--force", **environment(site)).returncode == 0
    assert (target / "report/loss.txt").read_bytes() == b"1.25"


def test_what_was_sent_before_is_not_sent_again(site: Site, folder: Path) -> None:
    client = client_of(site)
    first = client.send_folder(folder)
    assert OBJECT_BYTES < first.sent_bytes <= first.bytes
    (folder / "src" / "main.py").write_text("print('changed')")
    (folder / "more.txt").write_text("more")
    second = client.send_folder(folder)
    assert second.digest != first.digest
    assert second.sent_bytes < 10_000
    assert client.send_folder(folder).sent_bytes == 0
    digests = [upload["digest"] for upload in client.uploads()["uploads"]]
    assert {first.digest, second.digest} <= set(digests)


def test_an_upload_that_broke_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "data.bin").write_bytes(os.urandom(5 * OBJECT_BYTES))
    client = client_of(site)

    class Broke(Exception):
        pass

    def breaks(what: str, done: int, _total: int) -> None:
        if what == "sending" and done > 4 * OBJECT_BYTES:
            raise Broke

    with pytest.raises(Broke):
        client.send_folder(folder, breaks)
    rest = client.send_folder(folder)
    assert 0 < rest.sent_bytes < 2 * OBJECT_BYTES
    assert rest.bytes == 5 * OBJECT_BYTES


def test_one_firm_cannot_ask_what_another_has(site: Site, folder: Path) -> None:
    sent = client_of(site, "yunhe").send_folder(folder)
    other: Any = client_of(site, "lantian")
    digest = sent.digest.removeprefix("sha256:")
    asked = other._transport.request(
        "POST", "/v1/uploads/missing", body={"objects": [digest]}, repeatable=True
    )
    assert asked["missing"] == [digest]
    with pytest.raises(Refused) as refused:
        site.submit(
            "lantian", name="thief", model="mlu370-x8", command="cat data.bin",
            inputs=[{"path": ".", "digest": sent.digest}],
        )  # fmt: skip
    assert refused.value.problem.errors[0].field == "inputs[0].digest"
    with pytest.raises(Refused) as refused:
        other._transport.request("POST", "/v1/uploads", body={"digest": sent.digest}, repeatable=True)
    assert refused.value.status == 422


def raw_upload(client: Any, data: bytes) -> str:
    """Send one object as it is."""
    client._transport.request(
        "POST",
        "/v1/uploads/objects",
        content=len(data).to_bytes(4, "big") + data,
        content_type="application/vnd.suanli.objects",
        repeatable=True,
    )
    return hash_of(data)


@pytest.mark.parametrize("path", ["../escape", "/etc/cron.d/evil", "a/../../b", "a//b", "a\\b", "x\x1b[2J"])
def test_a_manifest_with_a_hostile_path_is_refused(site: Site, path: str) -> None:
    client = client_of(site)
    body = raw_upload(client, b"evil")
    data = Manifest((FileEntry(path, 4, False, body, (body,)),)).to_bytes()
    digest = raw_upload(client, data)
    transport: Any = client
    with pytest.raises(Refused) as refused:
        transport._transport.request(
            "POST", "/v1/uploads", body={"digest": f"sha256:{digest}"}, repeatable=True
        )
    assert refused.value.status == 422
    assert "\x1b" not in str(refused.value)


def test_bodies_that_are_no_objects_are_refused(site: Site) -> None:
    transport: Any = client_of(site)
    for content in (b"\0\0\0\5abc", b"\0\0\0\0", b"\xff\xff\xff\xffab"):
        with pytest.raises(Refused) as refused:
            transport._transport.request(
                "POST", "/v1/uploads/objects", content=content, content_type="application/vnd.suanli.objects"
            )
        assert refused.value.status == 422


def test_links_out_of_the_folder_are_not_followed(site: Site, folder: Path) -> None:
    (folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(FolderError, match="secret is a link"):
        client_of(site).send_folder(folder)


def test_results_are_the_firms_own_and_files_go_on_from_any_byte(site: Site, tmp_path: Path) -> None:
    job_id = site.submit(
        "yunhe",
        name="leaving",
        model="ascend-910b3",
        command='printf 0123456789 > "$SUANLI_OUTPUT_DIR/digits"',
    )
    assert site.ended("yunhe", job_id)["state"] == "succeeded"
    client: Any = client_of(site)
    (result,) = wait_until(lambda: client.results(job_id), "the results are collected")
    (file,) = client.result_files(job_id, result["attempt"], result["rank"])
    target = tmp_path / "digits"
    part = part_of(target, file["sha256"])
    part.write_bytes(b"01234")
    got: list[int] = []
    assert client.fetch_result(job_id, 1, 0, file, target, got.append) is True
    assert target.read_bytes() == b"0123456789"
    assert sum(got) == 5
    part.write_bytes(b"damaged")
    target.unlink()
    with pytest.raises(Exception, match="other bytes"):
        client.fetch_result(job_id, 1, 0, file, target)
    assert not target.exists()
    with pytest.raises(Refused) as refused:
        client_of(site, "lantian").results(job_id)
    assert refused.value.status == 404
    with pytest.raises(Refused) as refused:
        client._read(f"/v1/jobs/{job_id}/results/1/0/files/..%2F..%2Fetc%2Fpasswd")
    assert refused.value.status == 404


def test_an_interactive_job_holds_its_devices_without_a_command(site: Site) -> None:
    job_id = site.submit("yunhe", name="session", model="ascend-910b3", kind="interactive")
    wait_until(lambda: site.job("yunhe", job_id)["state"] == "running", "the session runs")
    client_of(site).cancel(job_id)
    assert site.ended("yunhe", job_id)["state"] == "cancelled"
