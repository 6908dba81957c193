"""What devices claim to be, window by window: dies and serials over time, and windows of agents that knew less."""

import json
from dataclasses import replace

import pytest

from suanli.evidence.hardware import UNKNOWN_HARDWARE
from suanli.evidence.records import DeviceEvent, encode_record, parse_record
from suanli.evidence.strict_json import encode
from suanli.evidence.window_checks import check_window
from suanli.evidence.windows import parse_header, parse_segment
from tests.builders.evidence import GRID, T0, Operator, device, honest_operator, segment, small_operator
from tests.builders.verdicts import assert_found, judged


def _with_a_die(operator: Operator, **changes: object) -> Operator:
    """From now on the first device of node-a claims otherwise; one more window of every node."""
    node = operator.nodes["node-a"]
    node.devices[0] = replace(node.devices[0], **changes)  # type: ignore[arg-type]
    operator.all_cut(6, start=6)
    return operator


def test_another_die_under_a_registered_serial_is_reported_where_it_begins() -> None:
    verdict = judged(_with_a_die(honest_operator(5), die_id="DIE-foreign"))
    assert_found(verdict, {"register.die"})
    (finding,) = verdict.findings
    assert (finding.step, finding.entity) == (11, "device d-1")
    assert (finding.expected, finding.found) == ("die_id DIE-d-1", "die_id DIE-foreign")


def test_what_the_register_does_not_know_must_not_change_between_windows() -> None:
    operator = honest_operator(0)
    node = operator.enrol("node-c", [device("d-9", die_id=None, uuid=None)], T0)
    for each in operator.nodes.values():
        each.uses.clear()
    node.devices[0] = device("d-9", uuid="U-1")
    operator.all_cut(3, start=1)
    assert not [f for f in judged(operator, period=(T0, T0 + 3 * GRID)).findings if f.step == 11]
    node.devices[0] = device("d-9", uuid="U-2")
    operator.all_cut(6, start=4)
    assert_found(judged(operator), {"register.changed"})


def test_a_new_driver_another_firmware_or_slot_are_no_finding() -> None:
    operator = _with_a_die(
        honest_operator(5), driver_version="25.2", firmware="7.9", bus_address="0000:c1:00.0"
    )
    assert judged(operator).verified


@pytest.mark.parametrize("hidden", ["serial", "uuid"])
def test_a_device_that_no_longer_tells_its_serial_is_reported(hidden: str) -> None:
    assert_found(judged(_with_a_die(honest_operator(5), **{hidden: None})), {"register.changed"})


def test_a_board_that_comes_back_with_another_die_is_reported() -> None:
    operator = honest_operator()
    gone = operator.nodes["node-a"].devices[0]
    operator.add(DeviceEvent("retired", gone, "node-a", "host node-a", "pool-1", T0 + 6 * GRID))
    again = device("d-8", serial=gone.serial)
    operator.enrol("node-c", [again], T0 + 6 * GRID)
    assert_found(judged(operator), {"register.die"})


def test_dies_of_one_board_may_bear_one_serial_on_one_node_only() -> None:
    def enrolled(second_node: str) -> Operator:
        operator = honest_operator(0)
        for each in operator.nodes.values():
            each.uses.clear()
        board = [device("d-5", serial="board"), device("d-6", 1, serial="board")]
        if second_node == "node-c":
            operator.enrol("node-c", board)
        else:
            operator.enrol("node-c", board[:1])
            operator.enrol(second_node, board[1:])
        operator.all_cut(6, start=1)
        return operator

    assert judged(enrolled("node-c")).verified
    assert_found(judged(enrolled("node-d")), {"register.same_identity"})


def test_one_die_in_two_places_is_reported_whatever_its_serials_say() -> None:
    operator = honest_operator(0)
    operator.enrol("node-c", [device("d-5", die_id="DIE-d-1")])
    for each in operator.nodes.values():
        each.uses.clear()
    operator.all_cut(6, start=1)
    assert_found(judged(operator), {"register.same_identity"})


@pytest.mark.parametrize("version", [1, 2])
def test_windows_of_an_older_agent_verify_beside_newer_ones(version: int) -> None:
    operator = honest_operator(3)
    for node in operator.nodes.values():
        node.version = version
    operator.all_cut(6, start=4)
    old = operator.log[-1].window
    assert old is not None
    assert json.loads(old.header)["schema"] == f"suanli.window.v{version}"
    assert parse_header(old.header).prev_signature_hash is None
    read = parse_segment(old.segments[0].body)
    assert read.version == version
    assert ((read.hardware, read.device.die_id) == (UNKNOWN_HARDWARE, None)) == (version == 1)
    assert judged(operator).verified


def test_a_register_of_an_older_ledger_is_read() -> None:
    event = DeviceEvent("enrolled", device("d-1"), "node-a", "host", "pool", T0)
    value = json.loads(encode_record(event))
    assert value["schema"] == "suanli.device_event.v2"
    value["schema"] = "suanli.device_event.v1"
    for name in ("die_id", "firmware"):
        del value["device"][name]
    read = parse_record("device_event", encode(value))
    assert read == replace(event, device=replace(event.device, die_id=None, firmware=None))


def test_a_window_and_its_segments_are_of_one_version_and_unknown_time_has_no_readings() -> None:
    node = small_operator().nodes["node-a"]
    mixed = node.cut(node.now_ms + GRID, alter=lambda piece: replace(piece, version=1))
    assert [p.field for p in check_window(mixed, node.key.public_key)] == ["segments[0].schema"]
    unknown = {"observed": "unknown", "measured_by": "nobody", "live_ms": 0, "busy_ms": 0}
    made_up = node.cut(node.now_ms + GRID, alter=lambda piece: replace(piece, **unknown))
    assert [p.field for p in check_window(made_up, node.key.public_key)] == ["segments[0].hardware"]


def test_heat_on_average_is_not_above_the_hottest() -> None:
    node = small_operator().nodes["node-a"]
    hot = replace(segment(device("d-1"), 0, 1).hardware, temperature_mean_mc=49_000)
    window = node.cut(node.now_ms + GRID, alter=lambda piece: replace(piece, hardware=hot))
    fields = [p.field for p in check_window(window, node.key.public_key)]
    assert fields == ["segments[0].hardware.temperature_mean_mc"]
