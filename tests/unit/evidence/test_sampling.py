"""Samples for inspection: the verifier draws them, under a seed that nobody knew; raw samples must bear them out."""

from dataclasses import replace

import pytest

from suanli.evidence.bundle_files import MemoryFiles
from suanli.evidence.errors import EvidenceError
from suanli.evidence.records import DeviceShare
from suanli.evidence.samples import RawSample, encode_sample, samples_root
from suanli.evidence.sampling import MISSING, encode_missing, encode_request, parse_request
from suanli.evidence.steps.samples import SampleWanted
from suanli.evidence.verify import verify
from tests.builders.evidence import GRID, T0, Operator, Use, honest_operator
from tests.builders.verdicts import assert_found, codes

PERIOD = (T0, T0 + 6 * GRID)
STEP_MS = 10_000


def _readings(piece):
    """What a node would have kept of a segment: a reading every ten seconds."""
    times = range(piece.start_ms + STEP_MS, piece.end_ms + 1, STEP_MS)
    return [
        encode_sample(
            RawSample(
                piece.device.device_id,
                at_ms,
                piece.allocation_id,
                "ok",
                STEP_MS if piece.live_ms else 0,
                STEP_MS if piece.busy_ms else 0,
                None,
                None,
                None,
                None,
                None,
                1 if piece.processes_max else 0,
            )
        )
        for at_ms in times
    ]


@pytest.fixture(scope="module")
def sampled():
    return sampled_operator()


def sampled_operator():
    """An operator whose nodes keep raw samples, and what they keep, by device and stretch."""
    operator = honest_operator(0)
    a, b = operator.nodes.values()
    a.uses.clear()
    b.uses.clear()
    both = (DeviceShare("d-3", 1_000_000), DeviceShare("d-4", 1_000_000))
    operator.allocation("granted", "al-1", T0)
    operator.allocation(
        "granted", "al-2", T0, job_id="job-2", firm_id="firm-b", node_id="node-b", devices=both
    )
    a.uses.append(Use("d-1", T0, PERIOD[1], "al-1"))
    b.uses += [Use("d-3", T0, PERIOD[1], "al-2"), Use("d-4", T0, PERIOD[1], "al-2")]
    kept = {}

    def alter(piece):
        lines = _readings(piece)
        kept[piece.device.device_id, piece.start_ms] = lines
        return replace(
            piece, samples_root=samples_root(lines), samples_taken=len(lines), samples_expected=len(lines)
        )

    operator.all_cut(6, start=1, alter=alter)
    return operator, kept


def _ask(operator: Operator, packet=None, size=2, after=None, parts=1):
    wanted = SampleWanted(
        operator.checkpoint() if after is None else after,
        size,
        None if packet is None else MemoryFiles(packet),
    )
    return verify(operator.bundle(PERIOD), policy=operator.policy(), sample=wanted, parts=parts)


def _packet(verdict, kept):
    return {
        item.path: b"".join(
            line + b"\n" for line in kept[item.segment.device.device_id, item.segment.start_ms]
        )
        for item in verdict.drawn.segments()
    }


def test_every_firm_and_model_is_in_the_sample_whatever_the_parts(sampled):
    operator, _ = sampled
    verdict = _ask(operator)
    assert verdict.verified
    drawn = verdict.drawn.segments()
    assert {item.stratum.firm_id for item in drawn} == {"firm-a", "firm-b"}
    assert len(drawn) == 4
    assert 18 in verdict.steps_run
    assert any("no packet is back" in str(limit) for limit in verdict.not_proved)
    again = _ask(operator, parts=3)
    assert again.drawn.segments() == drawn
    assert again.facts == verdict.facts


def test_another_seed_draws_another_sample(sampled):
    operator, _ = sampled
    later = honest_operator(0)
    later.log = [*operator.log]
    later.allocation("ended", "al-1", PERIOD[1], event_seq=99)
    drawn = _ask(operator).drawn
    other = _ask(operator, after=later.checkpoint())
    assert codes(other, "error") == set()
    assert any("extends this bundle" in str(limit) for limit in other.not_proved)
    assert other.drawn.seed != drawn.seed


def test_a_packet_with_the_raw_samples_of_what_was_drawn_is_accepted(sampled):
    operator, kept = sampled
    packet = _packet(_ask(operator), kept)
    verdict = _ask(operator, packet)
    assert verdict.findings == ()
    assert verdict.verified


def test_a_packet_without_what_was_drawn_is_incomplete(sampled):
    operator, kept = sampled
    packet = _packet(_ask(operator), kept)
    packet.pop(sorted(packet)[0])
    verdict = _ask(operator, packet)
    assert_found(verdict, {"sample.missing"})
    assert verdict.integrity


def test_a_packet_says_why_something_is_not_in_it_and_the_finding_repeats_it(sampled):
    operator, kept = sampled
    packet = _packet(_ask(operator), kept)
    away = sorted(packet)[0]
    del packet[away]
    packet[MISSING] = encode_missing({away: "node node-a is away"})
    verdict = _ask(operator, packet)
    assert_found(verdict, {"sample.missing"})
    assert verdict.findings[0].found == "none, and the operator says: node node-a is away"
    packet[MISSING] = b"{}"
    assert {finding.code for finding in _ask(operator, packet).findings} == {"sample.missing", "sample.extra"}


def test_raw_samples_made_up_afterwards_have_another_root(sampled):
    operator, kept = sampled
    packet = _packet(_ask(operator), kept)
    path = sorted(packet)[0]
    packet[path] = packet[path].replace(b'"processes":1', b'"processes":2')
    assert_found(_ask(operator, packet), {"sample.readings"})


class _Huge(MemoryFiles):
    """A packet whose files announce more than any memory holds."""

    def sizes(self):
        return dict.fromkeys(super().sizes(), 1 << 40)


def test_a_packet_that_would_fill_the_memory_is_refused_before_it_is_read(sampled):
    operator, kept = sampled
    wanted = SampleWanted(operator.checkpoint(), 2, _Huge(_packet(_ask(operator), kept)))
    verdict = verify(operator.bundle(PERIOD), policy=operator.policy(), sample=wanted)
    assert_found(verdict, {"sample.readings"})
    assert "bytes" in verdict.findings[0].found


def test_what_was_not_drawn_does_not_belong_into_a_packet(sampled):
    operator, kept = sampled
    packet = _packet(_ask(operator), kept)
    packet["samples/0-0.jsonl"] = b""
    assert_found(_ask(operator, packet), {"sample.extra"})


def test_segments_without_raw_samples_are_noticed():
    operator = honest_operator()
    verdict = _ask(operator, {})
    assert codes(verdict, "warning") == {"sample.unrooted"}
    assert verdict.verified


@pytest.mark.parametrize("what", ["before the close", "not witnessed", "another root", "no note"])
def test_a_seed_that_the_operator_could_choose_is_refused(sampled, what):
    operator, _ = sampled
    early = honest_operator(2)
    after = {
        "before the close": early.checkpoint(),
        "not witnessed": operator.checkpoint(witnessed=False),
        "another root": _forked(operator),
        "no note": b"old",
    }[what]
    verdict = _ask(operator, after=after)
    assert_found(verdict, {"sample.seed"})
    assert verdict.drawn is None


def _forked(operator):
    other = honest_operator(0)
    other.log = [operator.log[1], operator.log[0], *operator.log[2:]]
    return other.checkpoint()


def test_a_seed_from_before_the_end_of_the_period_is_refused(sampled):
    operator, _ = sampled
    early = operator.checkpoint((PERIOD[0]) // 1000)
    assert "sample.seed" in codes(_ask(operator, after=early), "error")


def test_a_request_says_what_the_nodes_must_look_for(sampled):
    operator, _ = sampled
    drawn = _ask(operator).drawn
    data = encode_request(drawn.seed, drawn.segments(), drawn.devices())
    assert [item.path for item in parse_request(data)] == [item.path for item in drawn.segments()]
    with pytest.raises(EvidenceError, match="path"):
        parse_request(data.replace(b'"path":"samples/', b'"path":"../mples/'))
