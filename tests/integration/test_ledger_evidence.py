"""From a window on the wire to a bundle that verifies: gateway, ledger, witness and verifier together."""

import io
import json
import re
import zipfile
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Conflict, Invalid, Unavailable
from scheduler.domain.principals import Role
from scheduler.domain.time import to_rfc3339
from scheduler.services.bundles import BundleRequest, MadeBundle, write_bundle
from scheduler.services.periods import close_period
from scheduler.services.proof_packets import PacketRequest, write_packet
from scheduler.services.receipts import add_firm_key, add_receipt, list_receipts
from scheduler.services.usage import Wanted, balance, usage_report
from scheduler.storage.segments import pack_segments, unpack_segments
from scheduler.storage.stamp_store import StampStore
from scheduler.storage.tile_store import TileStore
from suanli.cli.time_stamps import stamp_check
from suanli.evidence.bundle import AUDITOR, Scope, firm_scope
from suanli.evidence.bundle_files import MemoryFiles
from suanli.evidence.entries import parse_payload, signing_message
from suanli.evidence.keys import NOTE_ED25519, SigningKey, verifier_key
from suanli.evidence.log_checkpoint import open_log_checkpoint
from suanli.evidence.policy import cosigners
from suanli.evidence.receipts import JobReceipt, proof_message
from suanli.evidence.records import AdministrativeAct, encode_record, parse_record
from suanli.evidence.sampling import draw_entries
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.steps.packet import EntriesWanted, inspect_packet
from suanli.evidence.verify import verify
from suanli.evidence.windows import SaltedSegment, SeenCheckpoint
from tests.builders.authority import make_authority
from tests.builders.database import DatabaseUrls
from tests.builders.evidence import seed
from tests.builders.gateway import (
    Agent,
    RunningGateway,
    Stay,
    UsageStream,
    claims,
    now_ms,
    running_gateway,
    until,
)
from tests.builders.ledger import (
    FIRM,
    Keys,
    RunningLedger,
    RunningWitness,
    World,
    make_keys,
    policy,
    running_ledger,
    running_witness,
)

OPERATOR = Principal("ops-1", "ops", "user", Role.OPERATOR, None)


@dataclass
class House:
    """Everything that runs, and one node whose first device worked for a job and is free again."""

    world: World
    keys: Keys
    gateway: RunningGateway
    ledger: RunningLedger
    witness: RunningWitness
    store: TileStore
    agent: Agent
    stream: UsageStream
    used_ms: int

    async def bundle(
        self, scope: Scope = AUDITOR, to_ms: int | None = None, from_ms: int | None = None
    ) -> tuple[Mapping[str, bytes], MadeBundle]:
        """What the API would hand out."""
        target = io.BytesIO()
        async with self.world.api.read() as session:
            request = BundleRequest(scope, from_ms, to_ms)
            made = await write_bundle(session, self.store, request, target, now_ms())
        with zipfile.ZipFile(target) as archive:
            return {name: archive.read(name) for name in archive.namelist()}, made

    async def packet(self, request: PacketRequest) -> dict[str, bytes]:
        """The proof packet that the API would hand out."""
        target = io.BytesIO()
        async with self.world.api.snapshot() as session:
            await write_packet(session, self.store, request, target)
        with zipfile.ZipFile(target) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    async def seed(self, size: int) -> bytes:
        """The signed log checkpoint of a size, as it was published."""
        rows = await self.world.rows("SELECT size, note FROM log_checkpoints")
        return bytes(dict(rows)[size])

    async def until_cosigned(self) -> None:
        """Waits until the witness has seen the whole log."""

        async def cosigned() -> bool:
            rows = await self.world.rows(
                "SELECT (SELECT max(size) FROM cosignatures) = (SELECT count(*) FROM log_entries)"
                " AND (SELECT count(*) FROM usage_intake) + (SELECT count(*) FROM evidence_intake) = 0"
            )
            return rows == [(True,)]

        await until(cosigned)


@pytest.fixture
async def house(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    keys = make_keys(tmp_path / "keys")
    world = World(database_urls, keys)
    agent = Agent()
    with running_witness(tmp_path / "witness", keys.vkey) as witness:
        async with (
            running_gateway(database_urls.gateway, tmp_path) as gateway,
            running_ledger(
                database_urls.ledger, keys, tmp_path / "log", witnesses=[witness.as_config()]
            ) as ledger,
        ):
            await world.configure()
            await world.set_price((now_ms() - 60_000) // 300_000 * 300_000)
            await world.set_program((now_ms() - 60_000) // 300_000 * 300_000)
            await agent.enrol(gateway, await world.join_token())
            device = agent.devices[0].device_id
            granted_ms = agent.at_ms + 1_000
            ended_ms = granted_ms + 5_000
            await world.allocate("al-1", agent.node_id, [device], granted_ms)
            agent.stays.append(Stay(device, granted_ms + 300, ended_ms - 200, "al-1"))
            await world.allocation_event("ended", "al-1", ended_ms, node_id=agent.node_id, devices=[device])
            async with agent.stubs(gateway) as stubs:
                stream = UsageStream(stubs)
                store = TileStore(tmp_path / "log")
                yield House(world, keys, gateway, ledger, witness, store, agent, stream, 4_500)
                await stream.close()
    await world.close()


async def _logged(house: House) -> None:
    """All windows so far are stored, in the log, and acknowledged."""
    windows = house.agent.windows_until(now_ms())
    await house.stream.send(windows)
    await house.stream.until_acknowledged(house.agent.seq)
    assert house.stream.refused == []


async def test_acknowledged_windows_are_under_the_published_signed_checkpoint(house: House) -> None:
    await _logged(house)
    acknowledged, _ = open_log_checkpoint(house.stream.log_checkpoint, house.keys.vkey)
    published = house.store.checkpoint()
    assert published is not None
    head, _ = open_log_checkpoint(published, house.keys.vkey)
    rows = await house.world.rows("SELECT max(log_index) FROM log_entries WHERE type = 'usage_window'")
    assert rows[0][0] < acknowledged.size <= head.size
    assert await house.world.rows("SELECT type, log_index FROM log_entries WHERE log_index = 0") == [
        ("operator_keys", 0)
    ]


async def test_the_next_window_can_name_the_checkpoint_that_came_with_the_acknowledgement(
    house: House,
) -> None:
    await _logged(house)
    head, _ = open_log_checkpoint(house.stream.log_checkpoint, house.keys.vkey)
    house.agent.seen = SeenCheckpoint(head.origin, head.size, head.root.hex())
    last = house.agent.cut(house.agent.at_ms + 400)
    await house.stream.send([last])
    await house.stream.until_acknowledged(house.agent.seq)
    await house.until_cosigned()
    files, _ = await house.bundle()
    verdict = verify(files, policy=policy(house.keys, house.witness))
    assert verdict.integrity, verdict.findings


async def test_the_auditors_bundle_verifies_under_the_auditors_policy(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    files, made = await house.bundle()
    verdict = verify(files, policy=policy(house.keys, house.witness))
    assert (verdict.integrity, verdict.completeness) == (True, True), verdict.findings
    assert [finding for finding in verdict.findings if finding.severity == "error"] == []
    assert made.to_ms == house.agent.at_ms
    charges = verdict.facts["charges_recomputed"]
    assert isinstance(charges, dict)
    assert charges["lines"] == 1
    device_time = verdict.facts["device_time_ms"]
    assert isinstance(device_time, dict)
    assert device_time["allocated"] == house.used_ms
    assert device_time["unknown"] == 0
    assert sum(device_time.values()) == 2 * (made.to_ms - made.from_ms)


async def test_a_closed_period_keeps_its_statement_whatever_is_logged_later(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    _, made = await house.bundle()
    period, closed_ms = (made.from_ms, made.to_ms), now_ms()
    async with house.world.api.transaction() as session:
        closed = await close_period(session, OPERATOR, *period, closed_ms)
    async with house.world.api.transaction() as session:
        assert await close_period(session, OPERATOR, *period, now_ms() + 5) == closed
        with pytest.raises(Conflict, match="overlaps"):
            await close_period(session, OPERATOR, period[0], period[1] - 1, now_ms())
        with pytest.raises(Unavailable, match="ask again later"):
            await close_period(session, OPERATOR, period[1], period[1] + 3_600_000, now_ms())
    assert [statement.firm_id for statement in closed.statements] == [FIRM]
    act = AdministrativeAct("period_closed", "ops-1", "operator", f"{period[0]}/{period[1]}", closed_ms)
    # Terms that come after the close change nothing of what was closed.
    await house.world.set_price(period[0] // 300_000 * 300_000 - 3_600_000, price_id="price-late")
    await house.until_cosigned()
    for scope in (AUDITOR, firm_scope(FIRM)):
        files, later = await house.bundle(scope, to_ms=period[1], from_ms=period[0])
        assert later.log_size > closed.log_size
        verdict = verify(files, policy=policy(house.keys, house.witness))
        assert verdict.verified, verdict.findings
        assert verdict.facts["statements"] == {"firms": 1, "logged": 1}
        assert json.loads(files["statement.json"])["log_size"] == closed.log_size
    logged = await house.world.rows("SELECT payload FROM log_entries WHERE type = 'administrative_act'")
    assert [parse_payload(payload).body for (payload,) in logged].count(encode_record(act)) == 1
    # Another period is not closed, and its bundle says so.
    with pytest.raises(Invalid, match=f"to: got {to_rfc3339(period[0])}, want a time after "):
        await house.bundle(from_ms=period[1], to_ms=period[0])
    files, _ = await house.bundle(from_ms=period[0], to_ms=period[1] - 1)
    assert verify(files, policy=policy(house.keys, house.witness)).facts["statements"] == {
        "firms": 1,
        "logged": 0,
    }


async def test_the_published_checkpoint_carries_the_witnesss_cosignature(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()

    async def cosigned() -> bool:
        note = house.store.checkpoint()
        assert note is not None
        _, opened = open_log_checkpoint(note, house.keys.vkey)
        return bool(cosigners(policy(house.keys, house.witness), opened)[0])

    await until(cosigned)


async def test_a_bundle_carries_the_newest_time_stamp_of_its_tree(house: House, tmp_path: Path) -> None:
    await _logged(house)
    await house.until_cosigned()
    size = (await house.world.rows("SELECT count(*) FROM log_entries"))[0][0]
    authority, note = make_authority(tmp_path / "tsa"), await house.seed(size)
    StampStore(house.store.place).put(size, note, authority.stamp(note))
    files, _ = await house.bundle()
    verdict = verify(files, policy=policy(house.keys, house.witness), check_stamp=stamp_check(authority.root))
    assert verdict.integrity, verdict.findings
    stamp = verdict.facts["time_stamp"]
    assert isinstance(stamp, dict)
    assert stamp["log_size"] == size


async def test_a_firms_bundle_verifies_and_shows_nothing_of_another_firm(house: House) -> None:
    world, agent = house.world, house.agent
    await world.configure("firm-b")
    second = agent.devices[1].device_id
    at_ms = agent.at_ms + 2_000
    await world.allocate("al-2", agent.node_id, [second], at_ms, job_id="job-2", firm="firm-b")
    agent.stays.append(Stay(second, at_ms, at_ms + 3_000, "al-2"))
    await world.allocation_event(
        "ended", "al-2", at_ms + 3_000, node_id=agent.node_id, devices=[second], job_id="job-2", firm="firm-b"
    )
    await _logged(house)
    await house.until_cosigned()
    files, _ = await house.bundle(firm_scope(FIRM))
    verdict = verify(files, policy=policy(house.keys, house.witness))
    assert (verdict.integrity, verdict.completeness) == (True, True), verdict.findings
    assert b"firm-b" not in files["statement.json"]
    shown = files["payloads.jsonl"]
    secret = await world.rows(
        "SELECT segments, n FROM window_segments JOIN log_entries USING (log_index)"
        " WHERE window_segments.firm_id = 'firm-b'"
    )
    assert secret
    for packed, n in secret:
        assert b64encode(unpack_segments(packed)[n].body) not in shown


async def test_a_receipt_of_a_firm_is_in_its_bundle_and_in_the_auditors_as_the_firm_signed_it(
    house: House,
) -> None:
    world, signer = house.world, SigningKey(seed("firm key"))
    ana = Principal(f"{FIRM}-ana", "ana", "user", Role.FIRM_ADMINISTRATOR, FIRM)
    await _logged(house)
    stay = await world.rows("SELECT granted_ms FROM allocations WHERE allocation_id = 'al-1'")
    granted_ms = stay[0][0]
    await world.execute(
        "UPDATE allocations SET ended_ms = :end, live = false WHERE allocation_id = 'al-1'",
        end=granted_ms + 5_000,
    )
    said = JobReceipt(
        FIRM, "job-1", "al-1", "agreed", "", granted_ms, granted_ms + 5_000, None, "pretraining", 10, None, (),
        now_ms(),
    )  # fmt: skip
    body = encode_record(said)
    async with world.api.transaction() as session:
        proof = signer.sign(proof_message(FIRM, signer.public_key))
        await add_firm_key(session, ana, signer.public_key, proof, now_ms())
    async with world.api.transaction() as session:
        signature = signer.sign(signing_message("job_receipt", body))
        await add_receipt(session, ana, name=signer.key_id, body=body, signature=signature, now_ms=now_ms())
    # What the firm's key did not sign never becomes an entry, whoever puts it there.
    forged = encode_record(replace(said, at_ms=said.at_ms + 1))
    await world.fact(parse_record("job_receipt", forged), "receipt/forged", FIRM)

    async def logged() -> bool:
        return bool(await world.rows("SELECT 1 FROM log_entries WHERE type = 'job_receipt'"))

    await until(logged)
    await world.execute("DELETE FROM evidence_intake WHERE fact = 'receipt/forged'")
    await house.until_cosigned()
    firms_keys = (verifier_key(FIRM, NOTE_ED25519, signer.public_key),)
    for scope in (AUDITOR, firm_scope(FIRM)):
        files, _ = await house.bundle(scope)
        verdict = verify(
            files, policy=policy(house.keys, house.witness), settings=VerifySettings(firm_keys=firms_keys)
        )
        assert (verdict.integrity, verdict.completeness) == (True, True), verdict.findings
        assert verdict.facts["receipts"] == {"agreed": 1, "contested": 0, "missing": 0}
    async with world.api.read() as session:
        (kept,) = await list_receipts(session, ana, limit=10)
    assert kept.log_index is not None


async def test_charges_equal_the_statement_that_the_verifier_recomputes(house: House) -> None:
    await _logged(house)
    await until(lambda: _rated(house))
    await house.until_cosigned()
    files, made = await house.bundle()
    verdict = verify(files, policy=policy(house.keys, house.witness))
    recomputed = verdict.facts["charges_recomputed"]
    assert isinstance(recomputed, dict)

    async with house.world.api.snapshot() as session:
        report = await usage_report(session, Wanted(made.from_ms, made.to_ms, FIRM))
    [firm] = report.firms
    assert (firm.total_fen, firm.net_fen) == (recomputed["total_fen"], recomputed["net_fen"])
    [line] = firm.lines
    assert (line["held_ms"], line["billable_ms"]) == (5_000, 4_500)
    # Half of each segment, rounded down; where the grid cuts depends on the moment of the test.
    assert 2_240 <= line["worked_ms"] <= 2_250
    exact = Fraction(4_500 * 13_500_000_000, 3_600_000 * 10_000_000)
    assert line["charge"] == {"num": exact.numerator, "den": exact.denominator}
    [subsidy] = firm.subsidies
    assert subsidy["program_id"] == "etown-use"


async def _rated(house: House) -> bool:
    rows = await house.world.rows("SELECT sum(billable_ms) FROM charges")
    return rows == [(4_500,)]


async def test_every_millisecond_of_every_device_is_in_one_bucket(house: House) -> None:
    await _logged(house)
    async with house.world.api.snapshot() as session:
        start_ms = await _metering_from(house)
        found = await balance(session, from_ms=start_ms, to_ms=house.agent.at_ms)
    total = found.total()
    whole = (house.agent.at_ms - start_ms) * 1_000_000
    assert [device.buckets.total() for device in found.devices] == [whole, whole]
    assert total.allocated == house.used_ms * 1_000_000
    assert total.reserved == 500 * 1_000_000
    assert total.unknown == 0


async def _metering_from(house: House) -> int:
    return int((await house.world.rows("SELECT metering_from_ms FROM nodes"))[0][0])


async def test_a_time_that_is_not_logged_yet_is_not_bundled(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    with pytest.raises(Unavailable, match="ask again later"):
        await house.bundle(to_ms=now_ms() + 3_600_000)
    with pytest.raises(Invalid, match=r"^from: got .*, want a time before "):
        await house.bundle(from_ms=now_ms() + 3_600_000)


async def test_entries_drawn_of_the_whole_log_are_proved_to_the_auditor_and_to_a_firm(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    size = (await house.world.rows("SELECT count(*) FROM log_entries"))[0][0]
    seed_note = await house.seed(size)
    indexes = draw_entries(b"s" * 32, 0, size, 5)
    for scope, for_auditor in ((AUDITOR, True), (firm_scope("firm-b"), False)):
        files = await house.packet(PacketRequest(scope, seed_note, indexes))
        wanted = EntriesWanted(seed_note, frozenset(indexes), for_auditor)
        found = inspect_packet(MemoryFiles(files), policy(house.keys, house.witness), wanted)
        assert found.findings == ()
        assert found.proved >= len(indexes)
        assert found.windows > 0 or found.withheld > 0
        # Of firm-b there is nothing in this log: not a segment is opened to it.
        assert for_auditor or b'"salt":"' not in b"".join(
            line.partition(b'"segments":')[2] for line in files["payloads.jsonl"].splitlines()
        )


async def test_a_seed_or_an_index_that_cannot_be_is_refused_by_name(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    size, end_ms = (await house.world.rows("SELECT count(*), max(end_ms) FROM log_entries"))[0]
    sizes = await house.world.rows("SELECT size FROM log_checkpoints ORDER BY size")
    early, newest = await house.seed(sizes[0][0]), await house.seed(size)
    origin, said, _, *rest = newest.decode().split("\n")
    forked = "\n".join([origin, said, "A" * 43 + "=", *rest]).encode()
    refused = [
        (PacketRequest(AUDITOR, newest, [0], now_ms() + 3_600_000), Unavailable, "period is not closed"),
        (PacketRequest(AUDITOR, early, [0], end_ms), Invalid, "after the period closed"),
        (PacketRequest(AUDITOR, b"no note", [0]), Invalid, "a signed log checkpoint"),
        (PacketRequest(AUDITOR, forked, [0]), Invalid, "that this log published"),
        (PacketRequest(AUDITOR, newest, [0, size]), Invalid, rf"indexes\[1\].*0 to {size - 1}"),
        (PacketRequest(AUDITOR, newest, [3, 0, 3]), Invalid, r"indexes\[2\].*each index once"),
    ]
    for request, kind, why in refused:
        with pytest.raises(kind) as error:
            await house.packet(request)
        assert re.search(why, str(error.value)), error.value
    assert await house.packet(PacketRequest(AUDITOR, newest, [0], end_ms))


async def test_windows_that_a_ledger_of_before_logged_are_in_bundles_as_all_others(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    before = {scope.firm_id: (await house.bundle(scope))[0] for scope in (AUDITOR, firm_scope(FIRM))}
    for index, packed in await house.world.rows(
        "SELECT log_index, segments FROM log_entries WHERE segments IS NOT NULL"
    ):
        for n, one in enumerate(unpack_segments(packed)):
            device_id = json.loads(one.body)["device"]["device_id"]
            await house.world.execute(
                "INSERT INTO window_segments (log_index, n, device_id, salt, body)"
                " VALUES (:index, :n, :device_id, :salt, :body)"
                " ON CONFLICT (log_index, n) DO UPDATE SET salt = EXCLUDED.salt, body = EXCLUDED.body",
                index=index, n=n, device_id=device_id, salt=one.salt, body=one.body,
            )  # fmt: skip
    await house.world.execute("UPDATE log_entries SET segments = NULL")
    for scope in (AUDITOR, firm_scope(FIRM)):
        files, _ = await house.bundle(scope)
        assert files["payloads.jsonl"] == before[scope.firm_id]["payloads.jsonl"]
        verdict = verify(files, policy=policy(house.keys, house.witness))
        assert (verdict.integrity, verdict.completeness) == (True, True), verdict.findings


async def test_rows_that_were_changed_after_publication_do_not_verify(house: House) -> None:
    await _logged(house)
    await house.until_cosigned()
    for index, packed in await house.world.rows(
        "SELECT DISTINCT log_index, segments FROM window_segments JOIN log_entries USING (log_index)"
    ):
        forged = [
            SaltedSegment(s.salt, s.body.replace(b'"observed":"in_use"', b'"observed":"faulty"'))
            for s in unpack_segments(packed)
        ]
        await house.world.execute(
            "UPDATE log_entries SET segments = :forged WHERE log_index = :index",
            forged=pack_segments(forged),
            index=index,
        )
    files, _ = await house.bundle()
    verdict = verify(files, policy=policy(house.keys, house.witness))
    assert not verdict.integrity
    assert any(finding.step == 5 for finding in verdict.findings)


async def test_a_node_that_names_anothers_allocation_is_found_out_and_reaches_no_firm(house: House) -> None:
    """A hostile node signs what it likes: use of an allocation that another node, or another device, has."""
    intruder = Agent(name="node-2")
    devices = [claims(index, serial=f"SN-2-{index}") for index in (0, 1)]
    await intruder.enrol(house.gateway, await house.world.join_token(), devices=devices)
    at_ms = intruder.at_ms
    intruder.stays.append(Stay(intruder.devices[0].device_id, at_ms + 500, at_ms + 900, "al-1"))
    house.agent.stays.append(Stay(house.agent.devices[1].device_id, at_ms + 500, at_ms + 900, "al-1"))
    async with intruder.stubs(house.gateway) as stubs:
        stream = UsageStream(stubs)
        await stream.send(intruder.windows_until(now_ms()))
        await stream.until_acknowledged(intruder.seq)
        await stream.close()
    await _logged(house)
    await house.until_cosigned()
    shown = await house.world.rows(
        "SELECT DISTINCT device_id FROM window_segments WHERE firm_id IS NOT NULL ORDER BY 1"
    )
    assert shown == [(house.agent.devices[0].device_id,)]
    own, _ = await house.bundle(firm_scope(FIRM))
    trusted = policy(house.keys, house.witness)
    assert verify(own, policy=trusted).verified
    full, _ = await house.bundle()
    findings = [f for f in verify(full, policy=trusted).findings if f.code == "attribution.unauthorised"]
    accused = {finding.entity.split()[1] for finding in findings}
    assert accused == {intruder.devices[0].device_id, house.agent.devices[1].device_id}
