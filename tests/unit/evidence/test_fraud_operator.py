"""What an operator might do with all its keys, and the step that names it.

Each fraud is applied to an honest operator, after which everything that the operator can sign is signed anew:
entries, payloads, tiles, log checkpoint, statement, manifest; and, where it helps, the witness cosigns too.
Every test demands the named root cause and allows only the consequences that were thought through.
"""

from dataclasses import replace

import pytest

from suanli.evidence import entries
from suanli.evidence.keys import SigningKey
from suanli.evidence.records import DeviceEvent
from suanli.evidence.verify import verify
from suanli.evidence.windows import SeenCheckpoint
from tests.builders.evidence import (
    GRID,
    T0,
    Use,
    device,
    honest_operator,
    price,
    program,
    seed,
)
from tests.builders.verdicts import assert_found, codes, judged


def _window_index(operator, node, seq):
    indexes = [i for i, item in enumerate(operator.log) if item.node_name == node]
    return indexes[seq - 1]


def test_a_window_never_logged_leaves_a_gap_in_its_chain():
    verdict = judged(honest_operator(skip=lambda node, seq: node.name == "node-a" and seq == 3))
    assert_found(verdict, {"chain.gap"}, {"coverage.hole"})
    assert verdict.integrity
    assert not verdict.completeness


def test_the_last_windows_never_logged_leave_devices_uncovered():
    verdict = judged(honest_operator(skip=lambda node, seq: node.name == "node-a" and seq == 6))
    assert_found(verdict, {"coverage.hole"})
    assert verdict.integrity
    assert not verdict.completeness


def test_all_windows_of_a_node_never_logged_leave_devices_uncovered():
    verdict = judged(honest_operator(skip=lambda node, seq: node.name == "node-b"))
    assert_found(verdict, {"coverage.hole"})


def test_a_window_removed_afterwards_moves_every_root_that_agents_have_seen():
    operator = honest_operator()
    del operator.log[_window_index(operator, "node-a", 3)]
    verdict = judged(operator)
    assert_found(verdict, {"chain.gap", "time.root"}, {"coverage.hole", "time.future_checkpoint"})
    assert not verdict.integrity
    assert not verdict.completeness


def test_an_idle_window_removed_at_the_end_is_missed_by_coverage_and_by_history():
    operator = honest_operator()
    before = operator.checkpoint()
    operator.log.pop()
    verdict = verify(operator.bundle(), policy=operator.policy(), since=before)
    assert_found(verdict, {"history.rolled_back", "coverage.hole"})


def test_a_window_signed_by_the_operators_own_hand_is_not_the_agents():
    operator = honest_operator()
    index = _window_index(operator, "node-a", 2)
    item = operator.log[index]
    body = item.window.header.replace(b'"isolation":"uid"', b'"isolation":"none"')
    signature = operator.log_key.sign(entries.signing_message(entries.USAGE_WINDOW, body))
    _replace_payload(item, entries.build_payload(body, signature))
    verdict = judged(operator)
    assert_found(
        verdict, {"signature.window", "time.root"}, {"statement.rating", "statement.sum", "coverage.hole"}
    )


def _replace_payload(item, payload):
    entry = entries.parse_entry(item.sealed.entry)
    commitment = entries.payload_commitment(item.sealed.salt, payload)
    entry = entries.build_entry(entry._replace(payload_commitment=commitment))
    item.sealed = entries.SealedEntry(entry, payload, item.sealed.salt)


def test_windows_in_another_order_are_not_in_the_order_of_their_chain():
    operator = honest_operator()
    one, two = _window_index(operator, "node-b", 5), _window_index(operator, "node-b", 6)
    operator.log[one], operator.log[two] = operator.log[two], operator.log[one]
    verdict = judged(operator)
    assert "chain.order" in codes(verdict, "error")
    assert not verdict.integrity


def test_a_whole_log_written_again_in_another_order_contradicts_what_agents_saw():
    operator = honest_operator()
    price_at = next(i for i, item in enumerate(operator.log) if item.record == price())
    operator.log.insert(1, operator.log.pop(price_at))
    verdict = judged(operator)
    assert_found(verdict, {"time.root"})


def test_a_window_dated_back_is_younger_than_what_it_has_seen():
    operator = honest_operator()
    liar = operator.enrol("node-c", [device("d-5")], at_ms=T0)
    for hour in range(20):
        operator.allocation("granted", f"late-{hour}", T0 + 3_600_000 * (hour + 1), job_id="job-9")
        operator.allocation("ended", f"late-{hour}", T0 + 3_600_000 * (hour + 1) + 1, job_id="job-9")
    liar.seen = operator.seen()
    for n in range(6):
        operator.take(liar, liar.cut(T0 + (n + 1) * GRID))
    verdict = judged(operator, checkpoint=operator.checkpoint((T0 + 48 * 3_600_000) // 1000))
    assert_found(verdict, {"time.back_dated"})


def test_a_window_dated_beyond_the_moment_of_cosigning_is_post_dated():
    operator = honest_operator()
    moment = (T0 + 4 * GRID) // 1000
    verdict = judged(operator, checkpoint=operator.checkpoint(moment))
    assert_found(verdict, {"time.post_dated"})


def test_two_branches_of_one_chain_are_a_fork_shown_with_both():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    seq, prev_hash, now_ms = node.seq, node.prev_hash, node.now_ms
    operator.take(node, node.cut(now_ms + GRID))
    node.seq, node.prev_hash, node.now_ms = seq, prev_hash, now_ms
    node.uses.append(Use("d-2", now_ms, now_ms + GRID, "al-1"))
    operator.take(node, node.cut(now_ms + GRID))
    other = operator.nodes["node-b"]
    operator.take(other, other.cut(now_ms + GRID))
    verdict = judged(operator)
    assert "chain.fork" in codes(verdict, "error")
    fork = next(f for f in verdict.findings if f.code == "chain.fork")
    assert " and " in fork.found
    assert not verdict.integrity


def test_a_chain_whose_link_was_cut_does_not_join():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    node.prev_hash = "ab" * 32
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"chain.prev_hash"})


def test_a_window_that_begins_late_within_its_chain_leaves_a_hole():
    operator = honest_operator(5)
    operator.nodes["node-a"].now_ms += 60_000
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"chain.time"}, {"coverage.hole"})


def test_a_boot_clock_that_runs_backwards_within_one_boot_is_reported():
    operator = honest_operator(5)
    for each in operator.nodes.values():
        length = GRID * 1_000_000
        operator.take(each, each.cut(T0 + 6 * GRID, boot_start_ns=0, boot_end_ns=length))
    assert_found(judged(operator), {"chain.boot"})


def test_a_tree_rolled_back_is_smaller_than_the_one_the_reader_kept():
    kept, rolled_back = honest_operator(6).checkpoint(), honest_operator(4)
    period = (T0, T0 + 4 * GRID)
    verdict = verify(rolled_back.bundle(period), policy=rolled_back.policy(), since=kept)
    assert_found(verdict, {"history.rolled_back"})


def test_another_history_of_the_same_size_is_a_fork_of_the_log():
    kept = honest_operator(4).checkpoint()
    operator = honest_operator(6)
    operator.log[1], operator.log[2] = operator.log[2], operator.log[1]
    verdict = verify(operator.bundle(), policy=operator.policy(), since=kept)
    assert_found(verdict, {"history.forked"}, {"time.root"})


def test_an_agent_that_saw_another_log_proves_a_split_view():
    operator = honest_operator(5)
    operator.nodes["node-a"].seen = SeenCheckpoint("ledger.example/test", 5, "cd" * 32)
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"time.root"})


def test_windows_under_a_key_that_the_log_never_added_are_nobodys():
    operator = honest_operator()
    ghost = operator.enrol("node-c", [device("d-5")])
    ghost.key = SigningKey(seed("a key of nobody"))
    operator.take(ghost, ghost.cut(T0 + GRID))
    verdict = judged(operator)
    assert_found(verdict, {"keys.unknown"}, {"coverage.hole"})


def test_a_window_of_one_node_under_the_key_of_another_is_refused():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    operator.take(node, node.cut(T0 + 6 * GRID, node_id="node-b"))
    operator.take(operator.nodes["node-b"], operator.nodes["node-b"].cut(T0 + 6 * GRID))
    verdict = judged(operator)
    assert "keys.node" in codes(verdict, "error")


def test_a_key_does_not_speak_before_the_log_added_it_or_after_it_was_revoked():
    operator = honest_operator(5)
    added = next(i.record for i in operator.log if getattr(i.record, "node_id", "") == "node-a")
    operator.add(replace(added, event="revoked", at_ms=T0 + 5 * GRID))
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    verdict = judged(operator)
    assert_found(verdict, {"keys.after_revoked"}, {"coverage.hole"})


def test_an_end_padded_by_the_agent_is_outside_the_allocation():
    operator = honest_operator(2)
    node = operator.nodes["node-a"]
    node.uses[0].end_ms = T0 + 3 * GRID
    operator.allocation("ended", "al-1", T0 + 2 * GRID + 18_000)
    for n in range(3, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    verdict = judged(operator)
    assert_found(verdict, {"attribution.outside"})
    # And it earns nothing: only what was authorised is billed.
    firm = operator.statement((T0, T0 + 6 * GRID))["firms"][0]
    assert firm["lines"][0]["billable_ms"] == 2 * GRID + 18_000 - 62_000


def test_use_that_went_on_on_a_node_that_was_given_up_is_noticed_and_not_billed():
    """Nobody could reach the agent: its task went on until it was back and was told."""
    operator = honest_operator(2)
    node = operator.nodes["node-a"]
    node.uses[0].end_ms = T0 + 3 * GRID
    operator.allocation("ended", "al-1", T0 + 2 * GRID + 18_000, reason="node_lost")
    for n in range(3, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    verdict = judged(operator)
    assert (codes(verdict, "error"), codes(verdict, "warning")) == (set(), {"attribution.after_loss"})
    (finding,) = [f for f in verdict.findings if f.code == "attribution.after_loss"]
    assert "allocation al-1" in finding.entity
    firm = operator.statement((T0, T0 + 6 * GRID))["firms"][0]
    assert firm["lines"][0]["billable_ms"] == 2 * GRID + 18_000 - 62_000


def test_an_end_padded_by_the_controller_is_held_without_use_and_not_billed():
    operator = honest_operator(2)
    operator.allocation("ended", "al-1", T0 + 5 * GRID)
    for n in range(3, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    verdict = judged(operator)
    assert codes(verdict, "warning") == {"attribution.beyond_use"}
    firm = operator.statement((T0, T0 + 6 * GRID))["firms"][0]
    assert firm["lines"][0]["billable_ms"] == 2 * GRID + 17_000 - 62_000


def test_use_without_an_allocation_is_unauthorised_and_costs_nothing():
    operator = honest_operator(5)
    operator.nodes["node-a"].uses.append(Use("d-2", T0 + 5 * GRID, T0 + 6 * GRID, "al-ghost"))
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"attribution.unauthorised"})


def test_a_device_given_twice_at_one_time_is_reported():
    operator = honest_operator(5)
    operator.allocation("granted", "al-3", T0 + GRID, job_id="job-3")
    operator.allocation("ended", "al-3", T0 + 2 * GRID, job_id="job-3")
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"attribution.double"})


def test_an_allocation_event_left_out_is_missing_from_its_firms_numbers():
    operator = honest_operator(5)
    operator.firm_seq["firm-a"] += 1
    operator.allocation("granted", "al-3", T0 + 5 * GRID, job_id="job-3")
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"firm.gap"})


def test_one_serial_in_two_places_is_reported():
    operator = honest_operator(0)
    operator.enrol("node-c", [device("d-5", serial="SN-d-1")])
    for node in operator.nodes.values():
        node.uses.clear()
    for n in range(1, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    assert_found(judged(operator), {"register.same_identity"})


def test_a_device_that_becomes_another_is_reported():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    node.devices[0] = replace(node.devices[0], serial="SN-another")
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"register.changed"})


def test_a_device_that_nobody_registered_is_reported():
    operator = honest_operator(5)
    operator.nodes["node-a"].devices.append(device("d-9", 2))
    for each in operator.nodes.values():
        operator.take(each, each.cut(T0 + 6 * GRID))
    assert_found(judged(operator), {"coverage.unregistered"})


def test_a_log_that_does_not_begin_with_the_operators_keys_is_nobodys():
    operator = honest_operator()
    operator.log[0], operator.log[1] = operator.log[1], operator.log[0]
    verdict = judged(operator)
    assert_found(verdict, {"keys.operator"})
    assert 14 not in verdict.steps_run


def test_a_price_raised_behind_the_firms_back_is_not_the_one_in_force():
    operator = honest_operator()
    files = operator.bundle(change_statement=lambda value: _use_price(value, "price-2"))
    assert_found(verify(files, policy=operator.policy()), {"statement.rating"})


def _use_price(statement, price_id):
    statement["firms"][0]["lines"][0]["price_id"] = price_id


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("lines", 0, "amount_fen"), "statement.rating"),
        (("lines", 0, "billable_ms"), "statement.rating"),
        (("lines", 0, "held_ms"), "statement.rating"),
        (("lines", 0, "charge", "num"), "statement.rating"),
        (("total_fen",), "statement.sum"),
        (("net_fen",), "statement.sum"),
        (("subsidies", 0, "amount_fen"), "statement.sum"),
        (("subsidies", 0, "base_fen"), "statement.sum"),
    ],
)
def test_a_statement_altered_by_one_is_named(path, code):
    operator = honest_operator()

    def alter(statement):
        at = statement["firms"][0]
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] += 1

    verdict = verify(operator.bundle(change_statement=alter), policy=operator.policy())
    assert_found(verdict, {code})
    assert verdict.completeness
    finding = next(f for f in verdict.findings if f.severity == "error")
    assert finding.step == (14 if code == "statement.rating" else 15)


def test_a_statement_with_a_firm_left_out_is_named():
    operator = honest_operator()
    files = operator.bundle(change_statement=lambda value: value["firms"].pop())
    assert_found(verify(files, policy=operator.policy()), {"statement.rating"})


def test_a_device_used_after_it_was_taken_from_the_register_is_reported():
    operator = honest_operator(1)
    node = operator.nodes["node-a"]
    operator.add(DeviceEvent("retired", node.devices[0], "node-a", "host", "pool-1", T0 + GRID))
    operator.allocation("ended", "al-1", T0 + 2 * GRID + 18_000)
    for n in range(2, 7):
        for each in operator.nodes.values():
            each.uses = [use for use in each.uses if use.allocation_id == "al-1"]
            operator.take(each, each.cut(T0 + n * GRID))
    assert_found(judged(operator), {"coverage.outside_stay"})


def test_a_price_with_two_meanings_is_reported():
    operator = honest_operator(0)
    operator.add(price(price_nano_cny=1))
    for node in operator.nodes.values():
        node.uses.clear()
    for n in range(1, 7):
        for each in operator.nodes.values():
            operator.take(each, each.cut(T0 + n * GRID))
    assert_found(judged(operator), {"terms.twice"})


def test_the_first_price_of_a_model_logged_after_it_took_effect_is_noticed():
    operator = honest_operator()
    operator.add(price(price_id="other@1", device_model="mlu370-x8"))
    verdict = judged(operator)
    assert verdict.verified
    assert codes(verdict, "warning") == {"terms.retroactive"}


def test_a_price_raised_for_use_that_has_been_seen_is_named():
    operator = honest_operator()
    operator.add(price(price_id="price-2", price_nano_cny=90_000_000_000))
    assert_found(judged(operator), {"terms.rewritten"})


def test_a_program_changed_for_use_that_has_been_seen_is_named():
    operator = honest_operator()
    operator.add(program(version=2, rate_ppm=900_000))
    assert_found(judged(operator), {"terms.rewritten"})


def test_use_that_no_event_of_the_controller_tells_of_is_no_time_to_raise_a_price():
    operator = honest_operator(0)  # no event of the controller
    for n in range(1, 7):
        for each in operator.nodes.values():
            each.uses.clear()
            operator.take(each, each.cut(T0 + n * GRID))
    operator.add(price(price_id="price-2", effective_from_ms=T0 + 2 * GRID))
    assert_found(judged(operator), {"terms.rewritten"})


def test_a_price_changed_in_time_is_no_finding():
    operator = honest_operator()
    operator.add(price(price_id="price-2", effective_from_ms=T0 + 6 * GRID))
    assert judged(operator).findings == judged(honest_operator()).findings
