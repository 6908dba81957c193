"""What somebody with a node's own key might do, and the step that names it.

The holder of an agent's key signs whatever helps; operator, log and witness are honest and log it as it comes.
"""

from dataclasses import replace

import pytest

from suanli.evidence import entries
from suanli.evidence.records import DeviceShare
from suanli.evidence.windows import NO_PREVIOUS, ClockReading, SeenCheckpoint
from tests.builders.evidence import GRID, T0, Use, device, honest_operator
from tests.builders.verdicts import assert_found, codes, judged

END = T0 + 6 * GRID


def _index(operator, node, seq):
    return [i for i, item in enumerate(operator.log) if item.node_name == node][seq - 1]


def test_a_window_logged_twice_counts_once_and_is_named():
    operator = honest_operator()
    item = operator.log[_index(operator, "node-a", 6)]
    operator.take(operator.nodes["node-a"], item.window)
    verdict = judged(operator)
    assert_found(verdict, {"chain.duplicate"})
    firm = operator.statement((T0, END))["firms"][0]
    assert verdict.facts["charges_recomputed"]["firms"] == 2
    assert firm["lines"][0]["amount_fen"] > 0


def test_a_window_edited_and_signed_again_breaks_the_link_of_the_next():
    operator = honest_operator(4)
    node = operator.nodes["node-a"]
    index = _index(operator, "node-a", 3)
    body = operator.log[index].window.header.replace(b'"isolation":"uid"', b'"isolation":"none"')
    payload = entries.build_payload(body, node.key.sign(entries.signing_message(entries.USAGE_WINDOW, body)))
    item = operator.log[index]
    commitment = entries.payload_commitment(item.sealed.salt, payload)
    entry = entries.build_entry(
        entries.parse_entry(item.sealed.entry)._replace(payload_commitment=commitment)
    )
    item.sealed = entries.SealedEntry(entry, payload, item.sealed.salt)
    for each in operator.nodes.values():
        each.seen = None
    operator.all_cut(6, start=5)
    # The windows after it had seen the log as it was before, and say so.
    assert_found(judged(operator), {"chain.prev_hash", "time.root"})


def test_a_wall_clock_set_back_makes_time_that_is_told_twice():
    operator = honest_operator(4)
    node = operator.nodes["node-a"]
    node.now_ms -= 60_000
    boot = {"boot_start_ns": (node.now_ms - T0 + GRID) * 1_000_000 + 60 * 10**9}
    end_ms = T0 + 5 * GRID
    boot["boot_end_ns"] = boot["boot_start_ns"] + (end_ms - node.now_ms) * 1_000_000
    operator.take(
        node,
        node.cut(
            T0 + 4 * GRID,
            closed_by="stop",
            boot_start_ns=boot["boot_start_ns"],
            boot_end_ns=boot["boot_start_ns"] + 60 * 10**9,
        ),
    )
    operator.take(
        node,
        node.cut(
            end_ms,
            boot_start_ns=boot["boot_start_ns"] + 60 * 10**9,
            boot_end_ns=boot["boot_start_ns"] + 360 * 10**9,
        ),
    )
    other = operator.nodes["node-b"]
    operator.take(other, other.cut(end_ms))
    node.uses.clear()
    operator.take(
        node,
        node.cut(
            END,
            boot_start_ns=boot["boot_start_ns"] + 360 * 10**9,
            boot_end_ns=boot["boot_start_ns"] + 660 * 10**9,
        ),
    )
    operator.take(other, other.cut(END))
    assert_found(judged(operator), {"chain.time"}, {"coverage.overlap"})


def test_a_stolen_key_run_on_a_second_machine_forks_the_chain():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    thief = replace(node, uses=[Use("d-2", node.now_ms, END, "al-1")])
    operator.take(node, node.cut(END))
    operator.take(thief, thief.cut(END, boot_id="boot-of-the-thief"))
    operator.take(operator.nodes["node-b"], operator.nodes["node-b"].cut(END))
    verdict = judged(operator)
    assert_found(verdict, {"chain.fork"})
    assert " and " in next(f for f in verdict.findings if f.code == "chain.fork").found


def test_a_stolen_key_that_begins_anew_is_a_fork_from_the_first_window():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    thief = replace(node, seq=0, prev_hash=NO_PREVIOUS, now_ms=T0 + 5 * GRID, uses=[])
    operator.all_cut(6, start=6)
    operator.take(thief, thief.cut(END))
    assert_found(judged(operator), {"chain.fork"})


def test_a_log_of_another_name_was_never_seen_here():
    operator = honest_operator(5)
    operator.nodes["node-a"].seen = SeenCheckpoint("ledger.example/other", 5, "cd" * 32)
    operator.all_cut(6, start=6)
    assert_found(judged(operator), {"time.origin"})


def test_an_agent_that_forgets_and_clocks_that_disagree_are_noticed():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    node.seen = None
    start_ns = (5 * GRID + GRID) * 1_000_000
    operator.all_cut(
        6,
        start=6,
        only="node-a",
        clock=ClockReading("none", "free", 25_000),
        boot_start_ns=start_ns,
        boot_end_ns=start_ns + 1,
    )
    verdict = judged(operator)
    assert verdict.verified
    assert codes(verdict, "warning") == {"time.forgets", "time.clock", "time.drift"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"live_ms": GRID + 1}, "live_ms"),
        ({"busy_ms": 1}, "busy_ms"),
        ({"samples_taken": 301}, "samples_taken"),
        ({"utilisation_mean_ppm": 1}, "utilisation_mean_ppm"),
        ({"memory_mean_bytes": 1}, "memory_mean_bytes"),
        ({"energy_mj": 5}, "energy_mj"),
        ({"share_ppm": 0}, "share_ppm"),
    ],
)
def test_a_figure_beyond_its_bounds_is_named(change, field):
    operator = honest_operator(5)

    def alter(piece):
        return replace(piece, **change) if piece.device.device_id == "d-2" else piece

    operator.all_cut(6, start=6, only="node-a", alter=alter)
    verdict = judged(operator)
    consequences = (
        {"bounds.tiling"} if field == "share_ppm" else set()
    )  # parts add up to the whole device no more
    assert_found(verdict, {"bounds.segment"} | consequences)
    assert field in verdict.findings[0].entity


def test_a_device_left_out_of_part_of_a_window_is_a_hole_in_it():
    operator = honest_operator(5)

    def alter(piece):
        return replace(piece, end_ms=piece.end_ms - 1000) if piece.device.device_id == "d-2" else piece

    operator.all_cut(6, start=6, only="node-a", alter=alter)
    assert_found(judged(operator), {"bounds.tiling", "coverage.hole"})


def test_a_device_told_by_two_keys_of_a_node_is_told_twice():
    operator = honest_operator(5)
    ghost = operator.enrol("node-c", [])
    item = operator.log[-1]
    record = replace(item.record, node_id="node-a")
    operator.log.pop()
    operator.add(record)
    ghost.name, ghost.devices = "node-a", [operator.nodes["node-a"].devices[1]]
    del operator.nodes["node-c"]
    ghost.now_ms = T0 + 5 * GRID
    operator.all_cut(6, start=6)
    operator.take(ghost, ghost.cut(END))
    assert_found(judged(operator), {"coverage.overlap"})


def test_a_device_told_by_another_node_is_in_the_wrong_place():
    operator = honest_operator(5)
    operator.nodes["node-b"].devices.append(operator.nodes["node-a"].devices[1])
    operator.all_cut(6, start=6)
    assert_found(judged(operator), {"coverage.wrong_node"})


def test_more_of_a_device_than_was_given_is_named():
    operator = honest_operator(0)
    operator.allocation("granted", "al-9", T0, job_id="job-9", devices=(DeviceShare("d-2", 500_000),))
    operator.nodes["node-a"].uses[:] = [Use("d-2", T0, T0 + GRID, "al-9")]
    operator.nodes["node-b"].uses.clear()
    operator.all_cut(6, start=1)
    assert_found(judged(operator), {"attribution.share"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"driver": "nvidia", "simulated": False}, "nvidia"),
        ({"driver": "ascend", "simulated": False, "uuid": "GPU-8a56a4f2"}, "GPU-8a56a4f2"),
        ({"driver": "simulated", "simulated": False}, "simulated"),
    ],
)
def test_a_foreign_card_under_a_domestic_name_is_betrayed_by_its_driver(changes, told):
    operator = honest_operator(0)
    card = device("d-5", vendor="ascend", **changes)
    operator.enrol("node-c", [card])
    for node in operator.nodes.values():
        node.uses.clear()
    operator.all_cut(6, start=1)
    verdict = judged(operator)
    assert_found(verdict, {"register.driver"})
    assert told in verdict.findings[0].found


def test_a_card_whose_windows_tell_another_driver_than_the_register_is_betrayed():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    node.devices[1] = replace(node.devices[1], driver="nvidia")
    operator.all_cut(6, start=6)
    assert_found(judged(operator), {"register.driver"})


def _job_of_an_hour(alter):
    """A job that holds d-1 for thirteen windows; everything else is idle."""
    operator = honest_operator(0)
    for node in operator.nodes.values():
        node.uses.clear()
    operator.allocation("granted", "al-7", T0, job_id="job-7")
    operator.nodes["node-a"].uses.append(Use("d-1", T0, T0 + 13 * GRID, "al-7"))

    def in_use_only(piece):
        return alter(piece) if piece.observed == "in_use" else piece

    operator.all_cut(13, start=1, alter=in_use_only)
    return judged(operator, period=(T0, T0 + 13 * GRID))


def test_a_device_held_but_idle_is_a_suspicion_and_no_error():
    verdict = _job_of_an_hour(lambda piece: replace(piece, busy_ms=0))
    assert verdict.verified
    assert codes(verdict, "suspicion") == {"plausibility.idle_use"}


def _load(piece, mean, peak):
    return replace(piece, utilisation_mean_ppm=mean, utilisation_max_ppm=peak)


def test_a_load_that_never_varies_is_a_suspicion_and_no_error():
    verdict = _job_of_an_hour(lambda piece: _load(piece, 990_000, 991_000))
    assert verdict.verified
    assert [f.severity for f in verdict.findings] == ["suspicion"]
    assert codes(verdict, "suspicion") == {"plausibility.constant"}


def test_a_load_that_varies_as_work_does_is_no_suspicion():
    verdict = _job_of_an_hour(lambda piece: _load(piece, 700_000 + piece.seq * 1000, 950_000))
    assert verdict.findings == ()
