"""Firms' keys and receipts over HTTP and from the command line; what is signed reaches the log as it was signed."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from httpx import Response
from sqlalchemy import select, update

from scheduler.storage.tables import AllocationRow, AttemptRow, EvidenceIntakeRow
from suanli.evidence.entries import JOB_RECEIPT, signing_message
from suanli.evidence.keys import SigningKey
from suanli.evidence.receipts import FirmKey, JobReceipt, proof_message
from suanli.evidence.records import encode_record, parse_record
from tests.builders.api import NOW_MS, ApiInstallation, ApiInThread, InhabitedUrls, running_api
from tests.builders.evidence import seed
from tests.integration.test_api_cli import Shell

DIGEST = "sha256:" + "0a" * 32
KEY = SigningKey(seed("firm key"))


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def register(
    installation: ApiInstallation, key: SigningKey = KEY, person: str = "wang", firm: str = "lanjing"
) -> Response:
    proof = key.sign(proof_message(installation.firms[firm], key.public_key))
    body = {"public_key": key.public_key.hex(), "proof": proof.hex()}
    return await installation.as_(person).post("/v1/firm-keys", json=body)


async def ended_allocation(installation: ApiInstallation) -> tuple[str, str]:
    """A job with one allocation that ended a minute after it was granted."""
    job_id = await installation.submit()
    node_id, devices = await installation.add_node("node-9", 1)
    allocation_id = await installation.add_attempt(job_id, node_id, devices)
    await installation.as_controller(
        update(AllocationRow)
        .where(AllocationRow.allocation_id == allocation_id)
        .values(ended_ms=NOW_MS + 60_000, live=False)
    )
    await installation.as_controller(
        update(AttemptRow).where(AttemptRow.job_id == job_id).values(image_digest=DIGEST)
    )
    return job_id, allocation_id


def receipt(installation: ApiInstallation, job_id: str, allocation_id: str, **changes: object) -> JobReceipt:
    base = JobReceipt(
        firm_id=installation.firms["lanjing"],
        job_id=job_id,
        allocation_id=allocation_id,
        stance="agreed",
        reason="",
        start_ms=NOW_MS,
        end_ms=NOW_MS + 60_000,
        image_digest=None,
        workload="finetuning",
        steps=10,
        tokens=None,
        model_checkpoints=(),
        at_ms=NOW_MS + 60_000,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def signed(said: JobReceipt, key: SigningKey = KEY) -> dict[str, str]:
    body = encode_record(said)
    signature = key.sign(signing_message(JOB_RECEIPT, body))
    return {"key_id": key.key_id, "receipt": body.decode(), "signature": signature.hex()}


async def waiting(installation: ApiInstallation, kind: str) -> list[EvidenceIntakeRow]:
    async with installation.api.database.read() as session:
        found = await session.scalars(select(EvidenceIntakeRow).where(EvidenceIntakeRow.type == kind))
        return list(found)


async def test_a_firm_registers_its_key_once_and_the_event_waits_for_the_log(
    installation: ApiInstallation,
) -> None:
    first, again = await register(installation), await register(installation)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["vkey"].startswith(f"{installation.firms['lanjing']}+")
    (row,) = await waiting(installation, "firm_key")
    event = parse_record("firm_key", row.body)
    assert isinstance(event, FirmKey)
    assert (event.event, event.firm_id, row.firm_id) == ("added", event.firm_id, event.firm_id)
    assert [k["key_id"] for k in (await installation.as_("audit").get("/v1/firm-keys")).json()["keys"]] == [
        KEY.key_id
    ]
    assert (await installation.as_("zhao").get("/v1/firm-keys")).json()["keys"] == []


async def test_only_a_firms_administrator_with_the_key_in_hand_registers_it(
    installation: ApiInstallation,
) -> None:
    assert (await register(installation, person="lin")).status_code == 403
    assert (await register(installation, person="ops")).status_code == 403
    # The proof names another firm: a proof that was seen elsewhere registers nothing here.
    answer = await register(installation, firm="beiming")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "proof"
    assert (await register(installation)).status_code == 201
    assert (await register(installation, person="sun", firm="beiming")).status_code == 409


async def test_a_receipt_becomes_an_entry_as_it_was_signed_and_is_listed(
    installation: ApiInstallation,
) -> None:
    await register(installation)
    job_id, allocation_id = await ended_allocation(installation)
    lin = installation.as_("lin")
    sent = signed(receipt(installation, job_id, allocation_id))
    first, again = await lin.post("/v1/receipts", json=sent), await lin.post("/v1/receipts", json=sent)
    assert first.status_code == 201, first.text
    assert first.json() == again.json()
    assert first.json()["log_index"] is None
    (row,) = await waiting(installation, JOB_RECEIPT)
    assert (row.body.decode(), row.producer_key_id) == (sent["receipt"], KEY.key_id)
    assert row.signature is not None
    assert row.signature.hex() == sent["signature"]
    (allocation,) = (await lin.get(f"/v1/jobs/{job_id}/allocations")).json()["allocations"]
    assert allocation["receipt"] == first.json()
    assert (await installation.as_("audit").get("/v1/receipts")).json()["receipts"] == [first.json()]
    assert (await installation.as_("zhao").get("/v1/receipts")).json()["receipts"] == []
    assert (await installation.as_("zhao").get(f"/v1/jobs/{job_id}/allocations")).status_code == 404


async def test_the_newest_receipt_stands_and_pages_go_on_where_they_ended(
    installation: ApiInstallation,
) -> None:
    await register(installation)
    job_id, allocation_id = await ended_allocation(installation)
    lin = installation.as_("lin")
    for n in range(3):
        said = receipt(
            installation, job_id, allocation_id, stance="contested", reason=f"no {n}", at_ms=NOW_MS + n
        )
        assert (await lin.post("/v1/receipts", json=signed(said))).status_code == 201
    (allocation,) = (await lin.get(f"/v1/jobs/{job_id}/allocations")).json()["allocations"]
    assert allocation["receipt"]["reason"] == "no 2"
    page = (await lin.get("/v1/receipts?limit=2")).json()
    rest = (await lin.get(f"/v1/receipts?limit=2&cursor={page['next_cursor']}")).json()
    assert [r["reason"] for r in page["receipts"] + rest["receipts"]] == ["no 2", "no 1", "no 0"]
    assert rest["next_cursor"] is None
    assert (await lin.get("/v1/receipts?stance=agreed")).json()["receipts"] == []


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"allocation_id": "al-9"}, 404, None),
        ({"job_id": "job-9"}, 404, None),
        ({"end_ms": NOW_MS + 30_000}, 422, "receipt.start_ms"),
        ({"at_ms": NOW_MS + 600_000}, 422, "receipt.at_ms"),
        ({"firm_id": "firm-x"}, 403, None),
    ],
)
async def test_a_receipt_that_a_verifier_would_not_take_is_refused(
    installation: ApiInstallation, change: dict[str, object], status: int, field: str | None
) -> None:
    await register(installation)
    job_id, allocation_id = await ended_allocation(installation)
    said = replace(receipt(installation, job_id, allocation_id), **change)  # type: ignore[arg-type]
    answer = await installation.as_("lin").post("/v1/receipts", json=signed(said))
    assert answer.status_code == status, answer.text
    if field is not None:
        assert answer.json()["errors"][0]["field"] == field
    assert await waiting(installation, JOB_RECEIPT) == []


async def test_a_receipt_needs_a_key_of_the_firm_that_stands_and_its_signature(
    installation: ApiInstallation,
) -> None:
    job_id, allocation_id = await ended_allocation(installation)
    lin, wang = installation.as_("lin"), installation.as_("wang")
    sent = signed(receipt(installation, job_id, allocation_id))
    unknown = await lin.post("/v1/receipts", json=sent)
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "key_id")
    await register(installation)
    forged = {**sent, "signature": "0" * 128}
    answer = await lin.post("/v1/receipts", json=forged)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "signature")
    assert (await wang.delete(f"/v1/firm-keys/{KEY.key_id}")).status_code == 204
    assert (await wang.delete(f"/v1/firm-keys/{KEY.key_id}")).status_code == 204
    assert (await installation.as_("sun").delete(f"/v1/firm-keys/{KEY.key_id}")).status_code == 404
    assert (await lin.post("/v1/receipts", json=sent)).status_code == 409
    assert len(await waiting(installation, "firm_key")) == 2


async def test_what_still_runs_has_no_receipt_yet(installation: ApiInstallation) -> None:
    await register(installation)
    job_id = await installation.submit()
    node_id, devices = await installation.add_node("node-9", 1)
    allocation_id = await installation.add_attempt(job_id, node_id, devices)
    answer = await installation.as_("lin").post(
        "/v1/receipts", json=signed(receipt(installation, job_id, allocation_id))
    )
    assert (answer.status_code, "has not ended" in answer.text) == (409, True)


@pytest.fixture
def api(inhabited_urls: InhabitedUrls, tmp_path: Path) -> Iterator[ApiInThread]:
    with ApiInThread(inhabited_urls, tmp_path) as running:
        yield running


def test_a_firm_signs_and_contests_from_the_command_line(api: ApiInThread, tmp_path: Path) -> None:
    job_id, _ = api.call(ended_allocation(api.installation))
    api.installation.clock.now_ms = 4_000_000_000_000  # the terminal signs by its own clock
    lin, wang = Shell(api, tmp_path), Shell(api, tmp_path, person="wang")
    assert "suanli receipt key" in lin.run("receipt", "sign", job_id, code=2).stderr
    assert "firm administrator" in lin.run("receipt", "key", "--key", "no.pem", code=1).stderr
    assert not (tmp_path / "no.pem").exists()
    vkey = wang.run("receipt", "key").stdout
    assert wang.run("receipt", "key").stdout == vkey
    guarded = ("receipt", "key", "--key", "guarded.pem")
    vkey = wang.run(*guarded, "--passphrase", stdin="open sesame\n").stdout
    assert "ENCRYPTED PRIVATE KEY" in (tmp_path / "guarded.pem").read_text()
    assert "does not open with this passphrase" in wang.run(*guarded, stdin="sesame\n", code=2).stderr
    assert wang.run(*guarded, stdin="open sesame\n").stdout == vkey
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"w")
    done = lin.run(
        "receipt", "sign", job_id, "--workload", "finetuning", "--model-checkpoint", str(weights), "--json"
    )
    (made,) = json.loads(done.stdout)
    assert (made["stance"], made["job_id"]) == ("agreed", job_id)
    (row,) = api.call(waiting(api.installation, "job_receipt"))
    said = parse_record("job_receipt", row.body)
    assert isinstance(said, JobReceipt)
    assert said.image_digest == DIGEST  # as the nodes found it, where the firm says none
    assert "Nothing to sign" in lin.run("receipt", "sign", job_id).stdout
    unheard_of = lin.run("receipt", "sign", job_id, "--workload", "gaming", code=2).stderr
    assert unheard_of.startswith("suanli: --workload: got gaming, want one of evaluation, "), unheard_of
    assert "workload" in lin.run("receipt", "sign", job_id, "--allocation", made["allocation_id"],
                                 "--workload", "gaming", code=2).stderr  # fmt: skip
    refused = lin.run("receipt", "contest", job_id, "--reason", "", code=2).stderr
    assert refused == "suanli: --reason: got '', want a reason\n"
    contested = lin.run("receipt", "contest", job_id, "--reason", "the node hung").stdout
    assert "contested" in contested
    listed = lin.run("receipt", "list", job_id).stdout
    assert listed.index("the node hung") < listed.index("agreed")
    assert "receipt key" not in Shell(api, tmp_path, person="audit").run("receipt", "keys").stdout
