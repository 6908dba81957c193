"""Every operation of the API with what nobody would send: no error of ours, no status that is not documented."""

import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import count, cycle, product
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.builders.api import ApiInThread, InhabitedUrls, job_spec

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
FEW, MANY = 500, 50_000
# The many are sent in parts, each with a seed of its own: a part that found something is run again alone.
PARTS = 20
# A busy machine is slow, and that is not what is asked here.
ANSWER_S = 60
schemathesis.serializer.alias("application/vnd.suanli.objects", "application/octet-stream")
PEOPLE = ("ops", "lin", "wang", "audit")
# Of HTTP, which answers wrong ones itself before there is an API.
FRAMING = ("connection", "content-length", "expect", "transfer-encoding", "upgrade")


@pytest.fixture
def api(inhabited_urls: InhabitedUrls, tmp_path: Path) -> Iterator[ApiInThread]:
    with ApiInThread(inhabited_urls, tmp_path, requests_per_s=0) as running:
        yield running


class Fuzz:
    """Sends right and wrong requests to operations of the API, and keeps what was found."""

    def __init__(self, api: ApiInThread, session: requests.Session) -> None:
        self._session = session
        keys = {person: {"Authorization": f"Bearer {api.installation.keys[person]}"} for person in PEOPLE}
        self._keys = keys
        self._people = cycle(PEOPLE)
        # Who may not use an operation learns that once; the rest is asked by those who may.
        self._forbidden: set[tuple[str, str]] = set()
        self._job_id = api.call(api.installation.submit("lin", name="fuzzed"))
        self._real = cycle((True, False, False))
        self.sent = 0
        self.answers: Counter[int] = Counter()
        self.found: list[str] = []
        url = f"{api.url}/v1/openapi.json"
        schema = schemathesis.openapi.from_url(url, headers=keys["ops"], timeout=ANSWER_S)
        self.operations = [operation.ok() for operation in schema.get_all_operations()]

    def send(self, case: Case) -> None:
        """One request, whose answer must be documented and must not be an error of ours."""
        parameters: dict[str, Any] = case.path_parameters or {}
        if "job_id" in parameters and next(self._real):
            parameters["job_id"] = self._job_id
            # It waits for ever, and so would who follows it.
            case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
        for name in FRAMING:
            if case.headers is not None:
                case.headers.pop(name, None)
        self.sent += 1
        label = case.operation.label
        asking = [person for person in PEOPLE if (label, person) not in self._forbidden] or PEOPLE
        person = next(person for person in self._people if person in asking)
        answer = case.call(session=self._session, headers=self._keys[person], timeout=ANSWER_S)
        self.answers[answer.status_code] += 1
        if answer.status_code == 403:
            self._forbidden.add((label, person))
        case.validate_response(answer, checks=CHECKS)
        # A bundle is not available before the log has an entry; nothing else of ours may fail.
        assert answer.status_code < 500 or answer.json()["code"] == "unavailable", answer.text
        assert answer.headers["x-request-id"]

    def ask(self, operation: APIOperation, mode: GenerationMode, most: int, turn: int) -> bool:
        """At most so many different requests; False where no more of them are to be had."""
        before = self.sent
        # Not shrunk: what is found is shown as it was sent, and a slow answer is no reason to send it again.
        test = settings(
            max_examples=most,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )(given(case=operation.as_strategy(mode))(self.send))
        try:
            seed(zlib.crc32(f"{operation.label} {mode} {turn}".encode()))(test)()
        except Unsatisfiable:
            return False  # an operation without parameters cannot be asked wrongly
        except Exception as error:  # noqa: BLE001 - all of them are shown together
            self.found.append(f"{operation.label}: {error}")
            return False
        return self.sent - before >= most


def fuzz(api: ApiInThread, wanted: int, part: int = 0, parts: int = 1) -> Counter[int]:
    """Send `wanted` requests, spread evenly over the part's operations; how many got which status."""
    with requests.Session() as session:
        session.trust_env = False
        fuzzer = Fuzz(api, session)
        asking = list(product(fuzzer.operations[part::parts], GenerationMode))
        # What one operation cannot take (it has no parameters, or few values) goes to the others of the part.
        for turn in count():
            most = -(-(wanted - fuzzer.sent) // max(len(asking), 1))
            if most <= 0 or not asking:
                break
            asking = [
                (operation, mode) for operation, mode in asking if fuzzer.ask(operation, mode, most, turn)
            ]
    assert not fuzzer.found, "\n\n".join(fuzzer.found)
    assert api.call(api.installation.submit("lin", **job_spec(name="after")))
    return fuzzer.answers


@pytest.mark.timeout(600)
def test_a_few_strange_requests_to_every_operation_are_answered_as_documented(api: ApiInThread) -> None:
    assert fuzz(api, FEW).total() >= FEW


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_fifty_thousand_strange_requests_are_answered_as_documented(api: ApiInThread, part: int) -> None:
    assert MANY == 50_000
    answers = fuzz(api, MANY // PARTS, part, PARTS)
    print(f"part {part}: {answers.total()} requests, {sorted(answers.items())}")
    assert answers.total() >= MANY // PARTS  # the parts' sum is what the name says
