"""What happens in the life of a pool and is no fraud: verified; unknown time is said and never billed."""

from dataclasses import replace

from suanli.evidence.bundle import (
    CHECKPOINT,
    PAYLOADS,
    BundleHead,
    PayloadLine,
    encode_payload_line,
    firm_scope,
)
from suanli.evidence.keys import SigningKey
from suanli.evidence.records import DeviceEvent, KeyEvent
from suanli.evidence.verify import verify
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import NO_PREVIOUS, header_hash
from tests.builders.bundles import build_bundle
from tests.builders.evidence import (
    GRID,
    ORIGIN,
    T0,
    device,
    header,
    honest_operator,
    price,
    program,
    seed,
    segment,
)

PERIOD = (T0, T0 + 6 * GRID)


def _verdict(operator, **options):
    return verify(operator.bundle(**options), policy=operator.policy())


def _codes(verdict):
    return {finding.code for finding in verdict.findings if finding.severity == "error"}


def _unknown_until(operator, node, end_ms):
    """A window of time in which nobody measured, signed after the agent came back."""
    pieces = [
        segment(
            d,
            node.now_ms,
            end_ms,
            observed="unknown",
            measured_by="nobody",
            samples_taken=0,
            node_id=node.name,
        )
        for d in node.devices
    ]
    node.seq += 1
    pieces = [replace(piece, n=n, seq=node.seq) for n, piece in enumerate(pieces)]
    head = header(
        node.key,
        node.now_ms,
        end_ms,
        node_id=node.name,
        seq=node.seq,
        prev_hash=node.prev_hash,
        log_checkpoint=node.seen,
        closed_by="recovery",
        boot_id="boot-2",
        boot_start_ns=0,
        boot_end_ns=1,
    )
    window = build_window(head, pieces, [seed(f"r{n}") for n in range(len(pieces))], node.key.sign)
    node.prev_hash, node.now_ms = header_hash(window.header), end_ms
    operator.take(node, window)


def test_an_outage_is_unknown_time_and_costs_nothing():
    operator = honest_operator(1)
    for node in operator.nodes.values():
        _unknown_until(operator, node, T0 + 5 * GRID)
        node.seen = operator.seen()
        operator.take(node, node.cut(T0 + 6 * GRID, boot_id="boot-2"))
    verdict = _verdict(operator)
    assert verdict.findings == ()
    assert verdict.facts["device_time_ms"]["unknown"] == 4 * 4 * GRID
    firm = operator.statement(PERIOD)["firms"][0]
    assert firm["lines"][0]["billable_ms"] == GRID - 62_000


def test_a_node_changes_its_key_and_begins_a_new_chain():
    operator = honest_operator(3)
    node = operator.nodes["node-a"]
    added = next(
        item.record
        for item in operator.log
        if isinstance(item.record, KeyEvent) and item.record.node_id == "node-a"
    )
    operator.add(replace(added, event="revoked", at_ms=T0 + 3 * GRID))
    node.key = SigningKey(seed("node-a, second key"))
    public_key = node.key.public_key.hex()
    operator.add(replace(added, key_id=node.key.key_id, public_key=public_key, at_ms=T0 + 3 * GRID))
    node.seq, node.prev_hash = 0, NO_PREVIOUS
    for n in range(4, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    assert _verdict(operator).findings == ()


def test_a_retired_device_needs_no_window_any_more():
    operator = honest_operator(4)
    node = operator.nodes["node-a"]
    stop_ms = T0 + 4 * GRID + 12_345
    operator.take(node, node.cut(stop_ms, closed_by="stop"))
    for identity in node.devices:
        operator.add(DeviceEvent("retired", identity, node.name, "host node-a", "pool-1", stop_ms))
    for n in (5, 6):
        other = operator.nodes["node-b"]
        operator.take(other, other.cut(T0 + n * GRID))
    assert _verdict(operator).findings == ()


def test_a_device_enrolled_later_is_covered_from_then_on():
    operator = honest_operator(3)
    operator.enrol("node-c", [device("d-5")], at_ms=T0 + 3 * GRID)
    for n in range(4, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    verdict = _verdict(operator)
    assert verdict.findings == ()
    assert verdict.facts["register"]["devices"] == 5


def test_a_moved_device_is_in_one_place_at_a_time():
    operator = honest_operator(3)
    moved = operator.nodes["node-a"].devices.pop()
    operator.add(DeviceEvent("retired", moved, "node-a", "host node-a", "pool-1", T0 + 3 * GRID))
    operator.enrol("node-c", [replace(moved, bus_address="0000:09:00.0")], at_ms=T0 + 3 * GRID)
    for n in range(4, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    assert _verdict(operator).findings == ()


def test_windows_that_arrive_late_are_as_good():
    operator = honest_operator(2)
    held_back = []
    for n in range(3, 7):
        for node in operator.nodes.values():
            window = node.cut(T0 + n * GRID)
            if node.name == "node-b":
                held_back.append((node, window))
            else:
                operator.take(node, window)
        operator.nodes["node-a"].seen = operator.seen()
    for node, window in held_back:
        operator.take(node, window)
    assert _verdict(operator).findings == ()


def test_a_period_begins_and_ends_where_the_reader_is_told():
    operator = honest_operator()
    period = (T0 + GRID, T0 + 2 * GRID)
    verdict = _verdict(operator, period=period)
    assert verdict.findings == ()
    assert verdict.facts["period_ms"] == list(period)


def test_a_new_price_and_a_new_version_of_a_program_hold_from_their_line_of_the_grid():
    operator = honest_operator(0)
    operator.add(price(price_id="price-2", price_nano_cny=1, effective_from_ms=T0 + 2 * GRID))
    operator.add(program(version=2, rate_ppm=1, effective_from_ms=T0 + 2 * GRID))
    later = honest_operator(6)
    for item in later.log[len(honest_operator(0).log) :]:
        if item.record is not None:
            operator.add(item.record)
    for n in range(1, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    verdict = _verdict(operator)
    assert verdict.findings == ()
    lines = operator.statement(PERIOD)["firms"][0]["lines"]
    assert [line["price_id"] for line in lines] == ["price-1", "price-2"]


def _firm_files(operator, lines):
    scope = firm_scope("firm-a")
    head = BundleHead(ORIGIN, *PERIOD, PERIOD[1], scope)
    return build_bundle(operator.log_files(), lines, operator.statement(PERIOD, scope), head)


def test_a_firm_may_be_given_no_header_of_windows_without_its_own_use():
    operator = honest_operator()
    lines = [
        PayloadLine(line.index, None, None) if line.segments and not any(line.segments) else line
        for line in operator.lines(firm_scope("firm-a"))
    ]
    assert sum(line.payload is None for line in lines) > 8
    verdict = verify(_firm_files(operator, lines), policy=operator.policy())
    assert verdict.findings == ()


def test_a_firm_notices_that_one_of_its_own_entries_is_kept_from_it():
    operator = honest_operator()
    lines = operator.lines(firm_scope("firm-a"))
    own = next(n for n, item in enumerate(operator.log) if getattr(item.record, "event", "") == "started")
    lines[own] = PayloadLine(own, None, None)
    verdict = verify(_firm_files(operator, lines), policy=operator.policy())
    assert "firm.gap" in _codes(verdict)
    assert not verdict.completeness


def test_a_firm_notices_that_its_own_segment_is_kept_from_it():
    operator = honest_operator()
    lines = operator.lines(firm_scope("firm-a"))
    own = next(line for line in lines if any(line.segments))
    lines[own.index] = replace(own, segments=tuple(None for _ in own.segments))
    verdict = verify(_firm_files(operator, lines), policy=operator.policy())
    # Its hours as billed do not follow from what it was given.
    assert _codes(verdict) == {"statement.rating"}


def test_without_a_policy_the_signature_of_the_logs_own_key_is_still_asked_for():
    operator = honest_operator()
    files = operator.bundle()
    other = honest_operator()
    other.log_key = SigningKey(seed("another log key"))
    forged = operator.bundle(checkpoint=other.checkpoint(witnessed=False))
    assert verify(files).exit_code == 3
    verdict = verify(forged)
    assert [finding.code for finding in verdict.findings] == ["checkpoint.signature"]
    assert files[CHECKPOINT] != forged[CHECKPOINT]


def test_a_line_that_says_too_much_is_named():
    operator = honest_operator()
    lines = operator.lines()
    lines[0] = replace(lines[0], segments=(operator.log[-1].window.segments[0],))
    files = operator.bundle()
    body = b"".join(encode_payload_line(line) for line in lines)
    head = BundleHead(ORIGIN, *PERIOD, PERIOD[1])
    files = build_bundle(operator.log_files(), lines, operator.statement(PERIOD), head)
    assert files[PAYLOADS] == body
    verdict = verify(files, policy=operator.policy())
    assert [finding.code for finding in verdict.findings] == ["payload.extra"]
