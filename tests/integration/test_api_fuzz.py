"""Every operation of the API with what nobody would send: no error of ours, no status that is not documented."""

import zlib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.builders.api import ApiInThread, job_spec
from tests.builders.database import DatabaseUrls

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
FEW, MANY = 3, 50_000
# The many are sent in parts, each with a seed of its own: a part that found something is run again alone.
PARTS = 20
schemathesis.serializer.alias("application/vnd.suanli.objects", "application/octet-stream")
PEOPLE = ("ops", "lin", "wang", "audit")


@pytest.fixture
def api(database_urls: DatabaseUrls, tmp_path: Path) -> Iterator[ApiInThread]:
    with ApiInThread(database_urls, tmp_path, requests_per_s=0) as running:
        yield running


def fuzz(api: ApiInThread, each: int, part: int = 0, parts: int = 1) -> int:
    """Send right and wrong cases to every operation of the part, `each` of either; how many were sent."""
    keys = {person: {"Authorization": f"Bearer {api.installation.keys[person]}"} for person in PEOPLE}
    job_id = api.call(api.installation.submit("lin", name="fuzzed"))
    schema = schemathesis.openapi.from_url(f"{api.url}/v1/openapi.json", headers=keys["ops"])
    operations = [operation.ok() for operation in schema.get_all_operations()][part::parts]
    people = cycle(PEOPLE)
    real = cycle((True, False, False))
    found: list[str] = []
    sent = 0

    def send(case: Case) -> None:
        nonlocal sent
        parameters: dict[str, Any] = case.path_parameters or {}
        if "job_id" in parameters and next(real):
            parameters["job_id"] = job_id
        sent += 1
        answer = case.call(session=session, headers=keys[next(people)], timeout=20)
        case.validate_response(answer, checks=CHECKS)
        # A bundle is not available before the log has an entry; nothing else of ours may fail.
        assert answer.status_code < 500 or answer.json()["code"] == "unavailable", answer.text
        assert answer.headers["x-request-id"]

    with requests.Session() as session:
        session.trust_env = False
        for operation in operations:
            for mode in GenerationMode:
                # Not shrunk: what is found is shown as it was sent, and a slow answer is no reason to send it again.
                test = settings(
                    max_examples=each,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.explicit, Phase.generate],
                )(given(case=operation.as_strategy(mode))(send))
                try:
                    seed(zlib.crc32(f"{operation.label} {mode}".encode()))(test)()
                except Unsatisfiable:
                    continue  # an operation without parameters cannot be asked wrongly
                except Exception as error:  # noqa: BLE001 - all of them are shown together
                    found.append(f"{operation.label}: {error}")
    assert not found, "\n\n".join(found)
    assert api.call(api.installation.submit("lin", **job_spec(name="after")))
    return sent


@pytest.mark.timeout(600)
def test_a_few_strange_requests_to_every_operation_are_answered_as_documented(api: ApiInThread) -> None:
    assert fuzz(api, FEW) > 100


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_thousand_strange_requests_are_answered_as_documented(api: ApiInThread, part: int) -> None:
    operations = len(list(schemathesis.openapi.from_dict(document(api)).get_all_operations()))
    each = -(-MANY // (2 * operations))
    sent = fuzz(api, each, part, PARTS)
    print(f"part {part}: {sent} requests")  # the sum is what the name says
    # Operations without parameters have one right request and no wrong one.
    assert sent >= each


def document(api: ApiInThread) -> dict[str, Any]:
    key = api.installation.keys["ops"]
    answer = requests.get(
        f"{api.url}/v1/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    found: dict[str, Any] = answer.json()
    return found
