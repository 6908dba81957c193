"""Webhooks: from the outbox of a real database to a real HTTPS server, signed, tried again, and kept in bounds."""

import asyncio
import base64
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import insert

from scheduler.api.courier import Courier, WebhookSigner
from scheduler.api.outgoing import Outgoing, OutgoingError, context_with, may_reach, parse_networks
from scheduler.domain.time import DAY_MS
from scheduler.services.notifications import LEASE_MS, claim, forget_old
from scheduler.storage.tables import NotificationRow
from tests.builders.api import ApiInstallation, InhabitedUrls, running_api
from tests.builders.receiver import Receiver, running_receiver

LOOPBACK = parse_networks("127.0.0.0/8")
BODY = {"type": "job.succeeded", "data": {"name": "训练"}}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def outbox(installation: ApiInstallation, job_id: str, url: str, seqs: Sequence[int] = (1,)) -> None:
    now_ms = installation.clock.now_ms
    rows = [
        {
            "event_seq": seq,
            "firm_id": installation.firms["lanjing"],
            "job_id": job_id,
            "moment": "succeeded",
            "url": url,
            "body": BODY,
            "created_ms": now_ms,
            "next_ms": now_ms,
        }
        for seq in seqs
    ]
    await installation.as_controller(insert(NotificationRow).values(rows))


@asynccontextmanager
async def delivering(
    installation: ApiInstallation,
    receiver: Receiver,
    retries_s: Sequence[float] = (0.01, 0.01),
    timeout_s: float = 10,
) -> AsyncIterator[Courier]:
    outgoing = Outgoing(LOOPBACK, context_with(receiver.authority), timeout_s)
    courier = Courier(
        installation.api.database,
        outgoing,
        WebhookSigner(Ed25519PrivateKey.generate()),
        installation.clock,
        retries_s,
        period_s=0.01,
    )
    running = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(installation: ApiInstallation, job_id: str, state: str) -> list[dict[str, Any]]:
    """The job's notifications once the first of them is in this state; the clock goes on meanwhile."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not found or found[0]["state"] != state:
            installation.clock.now_ms += 20
            answer = await installation.as_("lin").get(f"/v1/jobs/{job_id}/notifications")
            found = answer.json()["notifications"]
            await asyncio.sleep(0.01)
    return found


async def test_a_notification_arrives_signed_as_standard_webhooks_says(
    installation: ApiInstallation, tmp_path: Path
) -> None:
    job_id = await installation.submit(notification={"url": "https://hooks.example/x"})
    with running_receiver(tmp_path / "receiver") as receiver:
        await outbox(installation, job_id, receiver.url)
        async with delivering(installation, receiver) as courier:
            (told,) = await until(installation, job_id, "delivered")
    assert (told["id"], told["attempts"], told["problem"]) == ("evt_1", 1, None)
    (request,) = receiver.requests()
    headers = request["headers"]
    assert (request["path"], json.loads(request["body"])) == ("/hook?token=t", BODY)
    assert (headers["webhook-id"], headers["content-type"]) == ("evt_1", "application/json")
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1a"
    key = Ed25519PublicKey.from_public_bytes(
        base64.b64decode(courier.signer.public_text.removeprefix("whpk_"))
    )
    signed = f"evt_1.{headers['webhook-timestamp']}.{request['body']}".encode()
    key.verify(base64.b64decode(signature), signed)


async def test_what_fails_is_tried_again_with_the_same_id_until_it_arrives(
    installation: ApiInstallation, tmp_path: Path
) -> None:
    job_id = await installation.submit()
    with running_receiver(tmp_path / "receiver", [503, 500, 204]) as receiver:
        await outbox(installation, job_id, receiver.url)
        async with delivering(installation, receiver):
            (told,) = await until(installation, job_id, "delivered")
    assert told["attempts"] == 3
    assert [request["headers"]["webhook-id"] for request in receiver.requests()] == ["evt_1"] * 3


@pytest.mark.parametrize(
    ("statuses", "attempts", "sentence"),
    [
        ([500], 3, "the receiver answered 500"),
        ([302], 3, "the receiver answered 302; redirects are not followed"),
        ([410], 1, "the receiver answered 410"),
        ([0], 3, "no answer within 0.3 s"),
    ],
)
async def test_what_keeps_failing_is_given_up_and_says_why(
    installation: ApiInstallation, tmp_path: Path, statuses: list[int], attempts: int, sentence: str
) -> None:
    job_id = await installation.submit()
    with running_receiver(tmp_path / "receiver", statuses) as receiver:
        await outbox(installation, job_id, receiver.url)
        async with delivering(installation, receiver, timeout_s=0.3):
            (told,) = await until(installation, job_id, "given_up")
        assert len(receiver.requests()) == attempts
    assert (told["attempts"], told["problem"]) == (attempts, sentence)


async def test_what_a_process_died_with_is_tried_by_another_when_its_lease_is_over(
    installation: ApiInstallation, tmp_path: Path
) -> None:
    job_id = await installation.submit()
    with running_receiver(tmp_path / "receiver") as receiver:
        await outbox(installation, job_id, receiver.url)
        database, clock = installation.api.database, installation.clock
        async with database.transaction() as session:
            assert len(await claim(session, clock.now_ms, 10, 10)) == 1  # and then it died
        async with database.transaction() as session:
            assert await claim(session, clock.now_ms, 10, 10) == []
        clock.now_ms += LEASE_MS
        async with delivering(installation, receiver):
            (told,) = await until(installation, job_id, "delivered")
    assert told["attempts"] == 2


async def test_a_firm_with_many_takes_a_few_turns_only(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    await outbox(installation, job_id, "https://hooks.example/x", range(1, 21))
    async with installation.api.database.transaction() as session:
        assert [due.event_seq for due in await claim(session, installation.clock.now_ms, 16, 4)] == [
            1,
            2,
            3,
            4,
        ]


async def test_settled_notifications_are_dropped_after_a_month(installation: ApiInstallation) -> None:
    job_id = await installation.submit()
    await outbox(installation, job_id, "https://hooks.example/x")
    async with installation.api.database.transaction() as session:
        await forget_old(session, installation.clock.now_ms + 31 * DAY_MS)
    assert (
        len((await installation.as_("lin").get(f"/v1/jobs/{job_id}/notifications")).json()["notifications"])
        == 1
    )


async def test_operators_do_not_see_where_a_firm_is_told(installation: ApiInstallation) -> None:
    job_id = await installation.submit(notification={"url": "https://hooks.example/token"})
    seen = (await installation.as_("ops").get(f"/v1/jobs/{job_id}")).json()
    assert seen["spec"]["notification"]["url"] == "(hidden)"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "0.0.0.0"),  # noqa: S104
        *("172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001::1"),
        *("64:ff9b:1::7f00:1", "::7f00:1", "::ffff:0:7f00:1"),
    ],
)
def test_what_is_not_public_cannot_be_reached_unless_the_operator_allows_it(address: str) -> None:
    found = ipaddress.ip_address(address)
    assert not may_reach(found, ())
    assert may_reach(found, parse_networks("0.0.0.0/0, ::/0"))


def test_public_addresses_can_be_reached() -> None:
    assert all(
        may_reach(ipaddress.ip_address(a), ()) for a in ("1.1.1.1", "2606:4700::1111", "64:ff9b::101:101")
    )


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(tmp_path: Path) -> None:
    asked: list[str] = []

    def answering(*addresses: str) -> Callable[[str, int], Any]:
        async def resolve(host: str, _port: int) -> Sequence[str]:
            asked.append(host)
            return addresses

        return resolve

    with running_receiver(tmp_path / "receiver") as receiver:
        outgoing = Outgoing((), context_with(receiver.authority), resolve=answering("1.1.1.1", "127.0.0.1"))
        with pytest.raises(OutgoingError, match="leads to an address that is not public"):
            await outgoing.post(f"https://rebinding.example:{receiver.port}/", {}, b"{}")
        allowed = replace(outgoing, allowed=LOOPBACK, resolve=answering("127.0.0.1"))
        assert await allowed.post(f"https://127.0.0.1:{receiver.port}/", {}, b"{}") == 200
        with pytest.raises(OutgoingError, match="certificate"):  # the name is still what is proved
            await allowed.post(f"https://rebinding.example:{receiver.port}/", {}, b"{}")
        with pytest.raises(OutgoingError, match="only https"):
            await allowed.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
    assert asked == ["rebinding.example", "127.0.0.1", "rebinding.example"]
    assert len(receiver.requests()) == 1
