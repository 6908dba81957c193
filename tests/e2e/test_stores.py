"""Inputs from an object store and outputs to one, through every process that has a part in them."""

from collections.abc import Iterator

import obstore
import pytest
from obstore.store import S3Store

from tests.builders.buckets import BucketServer, running_bucket_server
from tests.builders.e2e import PYTHON, Site, wait_until

pytestmark = pytest.mark.timeout(240)
BUCKET, MODEL = "wudao", "ascend-910b3"
UPPER = """
import pathlib, sys
text = "".join(p.read_text() for p in sorted(pathlib.Path("corpus").iterdir()))
out = pathlib.Path("out/deep")
out.mkdir(parents=True)
(out / "text").write_text(text.upper())
(out / "latest").symlink_to("text")
print("done", flush=True)
while len(sys.argv) > 2 and not pathlib.Path(sys.argv[2]).exists():
    pass
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with running_bucket_server(tmp_path_factory.mktemp("buckets"), BUCKET) as running:
        yield running


@pytest.fixture
def bucket(site: Site, server: BucketServer) -> Iterator[S3Store]:
    """The store of the pools, with a corpus in it, and the keys to it among the firm's secrets."""
    bucket = S3Store(
        BUCKET,
        config={
            "endpoint": server.address,
            "region": "us-east-1",
            "access_key_id": server.key_id,
            "secret_access_key": server.secret,
        },
        client_options={"allow_http": True},
    )
    for name in ("one", "two"):
        obstore.put(bucket, f"raw/{name}", name.encode())
    researcher = site.people.researchers["yunhe"]
    lines = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
    researcher.set_secret("store", lines.format(server.key_id, server.secret).encode())
    researcher.set_secret("wrong", lines.format("AKIAWRONG", "wrong").encode())
    declare(site, [{"name": "minio", "endpoint": server.address}])
    yield bucket
    declare(site, [])


def declare(site: Site, stores: list[dict[str, str]]) -> None:
    pools = [{"name": name, "patience_seconds": 10, "object_stores": stores} for name in ("ascend", "mixed")]
    site.people.operator.apply({"pools": pools})


def submit(site: Site, *argv: str, place: str, key: str = "store", **more: object) -> str:
    return site.submit(
        "yunhe",
        name="upper",
        model=MODEL,
        command=[PYTHON, "-c", UPPER, *argv],
        inputs=[{"path": "corpus", "object": f"s3://{BUCKET}/raw", "credentials": key}],
        outputs=[{"path": "out", "object": f"s3://{BUCKET}/{place}", "credentials": "store", **more}],
    )


def written(bucket: S3Store, prefix: str) -> dict[str, bytes]:
    names = [meta["path"] for page in obstore.list(bucket, prefix=prefix) for meta in page]
    return {name: bytes(obstore.get(bucket, name).bytes()) for name in names}


def test_a_job_reads_a_corpus_from_a_store_and_its_output_is_there_when_it_has_succeeded(
    site: Site, bucket: S3Store
) -> None:
    job_id = submit(site, "0", place="runs/{job_id}/{attempt}/{rank}")
    assert site.ended("yunhe", job_id)["state"] == "succeeded", site.job("yunhe", job_id)
    assert written(bucket, f"runs/{job_id}") == {f"runs/{job_id}/1/0/deep/text": b"ONETWO"}
    client = site.people.researchers["yunhe"]
    assert client.results(job_id) == []
    told = [event for event in client.events(job_id=job_id, follow=False) if event["kind"] == "TaskPreparing"]
    assert any(event["data"]["detail"].startswith("inputs[0]: 2 files, 6 B") for event in told)
    detail = client.attempts(job_id)[0]["tasks"][0]["detail"]
    assert detail == "outputs[0]: left out, because they are no regular files: out/deep/latest"


@pytest.mark.usefixtures("bucket")
def test_a_key_that_the_store_refuses_ends_the_job_at_once_and_says_so(site: Site) -> None:
    job_id = submit(site, "0", place="runs", key="wrong")
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "store_refused")
    assert f"inputs[0]: access denied to bucket {BUCKET}" in job["detail"]
    assert len(site.people.researchers["yunhe"].attempts(job_id)) == 1


def test_what_a_failed_job_leaves_is_written_where_it_asked_for_that(site: Site, bucket: S3Store) -> None:
    always = submit(site, "3", place="always", when="always")
    only = submit(site, "3", place="only", when="succeeded")
    for job_id in (always, only):
        job = site.ended("yunhe", job_id)
        assert (job["state"], job["reason"]) == ("failed", "exited_nonzero")
    assert wait_until(lambda: written(bucket, "always"), "it is written") == {"always/deep/text": b"ONETWO"}
    assert written(bucket, "only") == {}


def test_what_a_store_does_not_take_is_kept_with_the_results_and_the_job_has_not_succeeded(
    site: Site, bucket: S3Store
) -> None:
    gate = site.gate("store-goes")
    job_id = submit(site, "0", str(gate), place="late")
    assert site.lines("yunhe", job_id, [0]) == ["done"]
    declare(site, [])
    gate.touch()
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["reason"]) == ("failed", "output_failed")
    assert "outputs[0]" in job["detail"]
    assert "no object store" in job["detail"]
    client = site.people.researchers["yunhe"]
    (result,) = wait_until(lambda: client.results(job_id), "it is kept")
    assert result["files"] == 1
    assert "outputs[0] is not in its object store but here" in result["problem"]
    assert written(bucket, "late") == {}
