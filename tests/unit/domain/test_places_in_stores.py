"""What is said of object stores: keys out of a secret, endpoints, and paths with placeholders."""

from typing import Any

import pytest

from scheduler.domain.errors import Invalid
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.object_stores import StoreCredentials, bucket_and_key, filled, read_credentials

KEYS = StoreCredentials("AKIA1", "s/e+c=ret")


@pytest.mark.parametrize(
    "text",
    [
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s/e+c=ret\nregion = cn-north-4\n",
        "AWS_ACCESS_KEY_ID=AKIA1\r\nAWS_SECRET_ACCESS_KEY='s/e+c=ret'\r\n",
        "# mine\nexport AWS_SECRET_ACCESS_KEY=s/e+c=ret\nexport AWS_ACCESS_KEY_ID=AKIA1",
    ],
)
def test_keys_are_read_as_people_have_them(text: str) -> None:
    assert read_credentials(text.encode()) == KEYS
    token = read_credentials(f"{text}\nAWS_SESSION_TOKEN=t".encode())
    assert token == StoreCredentials(KEYS.access_key, KEYS.secret_key, "t")
    assert "ret" not in repr(token)


@pytest.mark.parametrize("value", [b"", b"AKIA1:secret", b"aws_access_key_id=x", b"\xff\x00"])
def test_a_secret_without_both_keys_holds_none(value: bytes) -> None:
    assert read_credentials(value) is None


def test_a_path_is_a_bucket_and_a_key_with_its_placeholders_filled() -> None:
    values = {"job_id": "j1", "attempt": 2, "rank": 0, "array_index": "7"}
    assert filled("s3://b/{job_id}/{attempt}-{rank}/{array_index}", values) == "s3://b/j1/2-0/7"
    assert bucket_and_key("s3://bucket/a/b/") == ("bucket", "a/b/")
    assert bucket_and_key("s3://bucket") == ("bucket", "")


def problems(**changes: Any) -> list[str]:
    job = {"name": "j", "model": "ascend-910b3", "command": "true", **changes}
    try:
        spec_from_json(job)
    except Invalid as error:
        return [problem.field for problem in error.problems]
    return []


def test_what_a_job_says_of_stores_is_refused_by_field_where_it_cannot_be() -> None:
    output = {"path": "out", "object": "s3://models/{job_id}"}
    assert problems(outputs=[output]) == []
    assert problems(outputs=[{**output, "object": "s3://models/{index}"}]) == ["outputs[0].object"]
    assert problems(outputs=[{**output, "object": "s3://models/{array_index}"}]) == ["outputs[0].object"]
    assert problems(outputs=[{**output, "object": "s3://models/{job_id"}]) == ["outputs[0].object"]
    assert problems(outputs=[{"path": "out", "credentials": "k"}]) == ["outputs[0].credentials"]
    assert problems(inputs=[{"path": "in", "object": "corpora/wudao"}])[0] == "inputs[0].object"


def test_the_jobs_of_an_array_may_read_one_place_and_must_not_write_one() -> None:
    one = {"path": "x", "object": "s3://models/all"}
    each = {"path": "x", "object": "s3://models/{array_index}"}
    assert problems(array={"count": 2}, inputs=[one], outputs=[each]) == []
    assert problems(array={"count": 2}, outputs=[each, one]) == ["outputs[1].object"]
