"""The fraud table: every threat and every invariant that a bundle can show, and the tests that commit it.

Threats are the rows of the design's fraud table, invariants those of its list that are about evidence. Each names
the tests that build a clean bundle, apply exactly that manipulation, sign again with every key that its author
holds, and demand the named cause. What no bundle can show says what does.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest

from suanli.evidence.findings import CODES
from tests.shared_data import shared_root

BYTES, NODE, OPERATOR, RECORDS = "fraud_bytes", "fraud_node", "fraud_operator", "fraud_records"
LIFE, WITNESS, RECEIPTS, INSPECTION = "verify_life", "witness_machine", "fraud_receipts", "inspection"
CALENDAR, STATEMENTS, CLAIMS = "fraud_calendar", "fraud_statements", "device_claims"

TABLE = {
    "drop records": [
        (OPERATOR, "test_a_window_never_logged_leaves_a_gap_in_its_chain"),
        (OPERATOR, "test_the_last_windows_never_logged_leave_devices_uncovered"),
        (OPERATOR, "test_all_windows_of_a_node_never_logged_leave_devices_uncovered"),
        (OPERATOR, "test_a_window_removed_afterwards_moves_every_root_that_agents_have_seen"),
        (OPERATOR, "test_an_allocation_event_left_out_is_missing_from_its_firms_numbers"),
        (BYTES, "test_a_payload_withheld_from_the_auditor_is_listed"),
        (LIFE, "test_a_firm_notices_that_one_of_its_own_entries_is_kept_from_it"),
        (RECEIPTS, "test_a_receipt_left_out_is_missing_from_its_firms_numbers"),
        (INSPECTION, "test_a_device_of_the_readers_list_that_was_never_enrolled_is_named"),
    ],
    "duplicate or replay": [
        (NODE, "test_a_window_logged_twice_counts_once_and_is_named"),
        (NODE, "test_a_device_told_by_two_keys_of_a_node_is_told_twice"),
        (RECEIPTS, "test_a_receipt_logged_again_counts_once_and_is_named"),
        (STATEMENTS, "test_time_closed_twice_is_named_whatever_the_other_period_is"),
    ],
    "back-date": [
        (OPERATOR, "test_a_window_dated_back_is_younger_than_what_it_has_seen"),
        (OPERATOR, "test_a_window_dated_beyond_the_moment_of_cosigning_is_post_dated"),
    ],
    "rewrite history": [
        (OPERATOR, "test_a_tree_rolled_back_is_smaller_than_the_one_the_reader_kept"),
        (OPERATOR, "test_another_history_of_the_same_size_is_a_fork_of_the_log"),
        (OPERATOR, "test_windows_in_another_order_are_not_in_the_order_of_their_chain"),
        (OPERATOR, "test_a_whole_log_written_again_in_another_order_contradicts_what_agents_saw"),
        (OPERATOR, "test_a_window_signed_by_the_operators_own_hand_is_not_the_agents"),
        (NODE, "test_a_window_edited_and_signed_again_breaks_the_link_of_the_next"),
    ],
    "split view": [
        (OPERATOR, "test_an_agent_that_saw_another_log_proves_a_split_view"),
        (NODE, "test_a_log_of_another_name_was_never_seen_here"),
        (BYTES, "test_without_the_quorums_cosignatures_neither_question_is_answered_with_yes"),
        (RECORDS, "test_a_false_line_of_a_witness_sinks_the_checkpoint"),
    ],
    "same serial at two nodes or operators": [
        (OPERATOR, "test_one_serial_in_two_places_is_reported"),
        (OPERATOR, "test_a_device_that_becomes_another_is_reported"),
        (NODE, "test_a_device_told_by_another_node_is_in_the_wrong_place"),
        (CLAIMS, "test_one_die_in_two_places_is_reported_whatever_its_serials_say"),
        (CLAIMS, "test_dies_of_one_board_may_bear_one_serial_on_one_node_only"),
        (CLAIMS, "test_a_board_that_comes_back_with_another_die_is_reported"),
    ],
    "foreign card posing as domestic": [
        (NODE, "test_a_foreign_card_under_a_domestic_name_is_betrayed_by_its_driver"),
        (INSPECTION, "test_a_device_that_is_another_model_than_was_inspected_is_named"),
        (NODE, "test_a_card_whose_windows_tell_another_driver_than_the_register_is_betrayed"),
        (CLAIMS, "test_another_die_under_a_registered_serial_is_reported_where_it_begins"),
        (CLAIMS, "test_what_the_register_does_not_know_must_not_change_between_windows"),
        (CLAIMS, "test_a_device_that_no_longer_tells_its_serial_is_reported"),
    ],
    "idle burn (kernel loop)": [
        (NODE, "test_a_device_held_but_idle_is_a_suspicion_and_no_error"),
        (NODE, "test_a_load_that_never_varies_is_a_suspicion_and_no_error"),
        (INSPECTION, "test_a_device_that_draws_more_than_its_maker_says_is_a_suspicion_and_no_error"),
        (RECEIPTS, "test_one_image_that_ran_for_two_firms_is_a_suspicion_and_no_error"),
    ],
    "firm and operator collude": [
        # Together they sign what they like; what an operator makes up for a firm is seen. The rest no bundle shows:
        # registers of companies, bank receipts, rack power, a challenge.
        (RECEIPTS, "test_a_receipt_signed_by_the_operator_for_the_firm_is_forged"),
        (RECEIPTS, "test_a_receipt_signed_by_another_firm_is_forged"),
        (RECEIPTS, "test_a_receipt_under_the_firms_name_with_another_signature_is_forged"),
        (RECEIPTS, "test_keys_that_an_operator_made_for_a_firm_are_not_in_the_readers_list"),
        (RECEIPTS, "test_a_receipt_for_what_the_firm_never_had_is_named"),
    ],
    "padding end times": [
        (OPERATOR, "test_an_end_padded_by_the_agent_is_outside_the_allocation"),
        (OPERATOR, "test_use_that_went_on_on_a_node_that_was_given_up_is_noticed_and_not_billed"),
        (OPERATOR, "test_an_end_padded_by_the_controller_is_held_without_use_and_not_billed"),
        (RECEIPTS, "test_use_beyond_what_the_firm_signed_is_named"),
        (RECORDS, "test_an_allocation_that_started_and_was_never_seen_is_noticed_and_not_billed"),
    ],
    "agent key theft": [
        (OPERATOR, "test_two_branches_of_one_chain_are_a_fork_shown_with_both"),
        (NODE, "test_a_stolen_key_run_on_a_second_machine_forks_the_chain"),
        (NODE, "test_a_stolen_key_that_begins_anew_is_a_fork_from_the_first_window"),
        (OPERATOR, "test_a_window_of_one_node_under_the_key_of_another_is_refused"),
        (OPERATOR, "test_a_key_does_not_speak_before_the_log_added_it_or_after_it_was_revoked"),
    ],
    "clock skew": [
        (NODE, "test_a_wall_clock_set_back_makes_time_that_is_told_twice"),
        (NODE, "test_an_agent_that_forgets_and_clocks_that_disagree_are_noticed"),
        (OPERATOR, "test_a_boot_clock_that_runs_backwards_within_one_boot_is_reported"),
    ],
    "operator edits price or rule": [
        (OPERATOR, "test_a_price_raised_behind_the_firms_back_is_not_the_one_in_force"),
        (OPERATOR, "test_a_price_with_two_meanings_is_reported"),
        (OPERATOR, "test_a_price_raised_for_use_that_has_been_seen_is_named"),
        (OPERATOR, "test_a_program_changed_for_use_that_has_been_seen_is_named"),
        (OPERATOR, "test_use_that_no_event_of_the_controller_tells_of_is_no_time_to_raise_a_price"),
    ],
    "claim twice": "no bundle of one operator: claims of all programs, in the auditor's own register",
}

INVARIANTS = {
    "L1": [
        (OPERATOR, "test_a_tree_rolled_back_is_smaller_than_the_one_the_reader_kept"),
        (OPERATOR, "test_another_history_of_the_same_size_is_a_fork_of_the_log"),
    ],
    "L2": [(OPERATOR, "test_a_window_removed_afterwards_moves_every_root_that_agents_have_seen")],
    "L3": [
        (WITNESS, "test_a_smaller_tree_after_a_larger_one_is_never_cosigned"),
        (WITNESS, "test_another_tree_of_the_same_size_is_never_cosigned"),
    ],
    "L4": [(RECORDS, "test_a_file_that_is_not_what_it_should_be_is_named")],
    "U1": [
        (OPERATOR, "test_a_window_never_logged_leaves_a_gap_in_its_chain"),
        (OPERATOR, "test_a_chain_whose_link_was_cut_does_not_join"),
        (OPERATOR, "test_two_branches_of_one_chain_are_a_fork_shown_with_both"),
    ],
    "U2": [
        (OPERATOR, "test_a_window_that_begins_late_within_its_chain_leaves_a_hole"),
        (NODE, "test_a_device_left_out_of_part_of_a_window_is_a_hole_in_it"),
        (NODE, "test_a_device_told_by_two_keys_of_a_node_is_told_twice"),
        (LIFE, "test_an_outage_is_unknown_time_and_costs_nothing"),
    ],
    "U3": [
        (OPERATOR, "test_a_device_given_twice_at_one_time_is_reported"),
        (NODE, "test_more_of_a_device_than_was_given_is_named"),
    ],
    "U4": [(NODE, "test_a_figure_beyond_its_bounds_is_named")],
    "U5": [(OPERATOR, "test_one_serial_in_two_places_is_reported")],
    "U6": [
        (OPERATOR, "test_an_end_padded_by_the_agent_is_outside_the_allocation"),
        (OPERATOR, "test_use_without_an_allocation_is_unauthorised_and_costs_nothing"),
        (RECORDS, "test_an_allocation_that_ends_twice_is_named"),
    ],
    "A1": [
        (BYTES, "test_every_flipped_byte_of_a_small_bundle_is_found"),
        (BYTES, "test_every_flipped_byte_of_the_checkpoint_is_found_behind_a_fitting_manifest"),
    ],
    "A2": [("verify_clean", "test_a_firms_bundle_is_verified_and_says_that_it_is_limited")],
}

FURTHER = {
    "maintenance claimed while a job ran": [
        (CALENDAR, "test_a_device_given_while_it_was_said_to_be_out_of_service_is_named"),
        (CALENDAR, "test_a_job_that_runs_into_maintenance_is_noticed_and_its_time_is_allocated"),
        (CALENDAR, "test_maintenance_made_up_after_the_devices_were_seen_idle_is_back_dated"),
        (CALENDAR, "test_maintenance_made_up_before_what_the_controller_knew_is_back_dated"),
        (CALENDAR, "test_what_was_planned_and_passed_cannot_be_taken_back"),
    ],
    "device time told otherwise than it was": [
        (STATEMENTS, "test_device_time_that_the_windows_do_not_tell_is_named"),
        (STATEMENTS, "test_a_firm_is_told_nothing_of_the_devices_of_others"),
    ],
    "held time told otherwise than it was": [
        (STATEMENTS, "test_held_time_that_the_log_does_not_tell_is_named_by_auditor_and_firm"),
        (STATEMENTS, "test_held_time_of_a_model_that_is_not_there_or_is_hidden_is_named"),
        (
            STATEMENTS,
            "test_faults_called_reserved_are_named_by_the_auditor_and_the_firm_is_told_what_it_cannot_see",
        ),
    ],
    "another statement than closed the period": [
        (STATEMENTS, "test_a_period_closed_with_another_statement_is_named"),
        (STATEMENTS, "test_a_statement_changed_after_the_period_was_closed_is_named_by_what_it_claims"),
        (STATEMENTS, "test_a_period_closed_again_is_named"),
        (STATEMENTS, "test_nobody_leaves_the_last_of_the_log_out_of_a_period_that_was_not_closed"),
        (STATEMENTS, "test_an_act_of_closing_without_a_statement_cuts_no_auditors_period_short"),
        (STATEMENTS, "test_a_statement_made_anew_over_a_longer_log_is_not_the_one_that_closed_the_period"),
        (STATEMENTS, "test_a_period_closed_over_entries_that_were_to_come_is_named"),
    ],
}
"""Threats that the design's table does not have."""

ROWS = [*TABLE.items(), *FURTHER.items(), *INVARIANTS.items()]


def _module(name):
    return import_module(f"tests.unit.evidence.test_{name}")


@pytest.mark.parametrize(("row", "tests"), ROWS, ids=[row for row, _ in ROWS])
def test_every_row_is_committed_by_tests_that_exist(row, tests):
    if isinstance(tests, str):
        assert tests.startswith("no bundle")
        return
    assert tests, row
    for module, name in tests:
        assert callable(getattr(_module(module), name)), name


def test_every_threat_and_invariant_of_the_design_has_a_row():
    page = shared_root() / "design" / "evidence_and_billing.md"
    if not page.exists():
        pytest.skip("the design's pages are not beside this repository")
    text = page.read_text("utf-8")
    threats = re.search(r"### 6\.3 Fraud table.*?\n\| --- .*?\n(.*?)\n\n", text, re.DOTALL)
    assert [line.split("|")[1].strip() for line in threats[1].splitlines()] == list(TABLE)
    invariants = re.findall(r"^\| ([LUA]\d) \|", text, re.MULTILINE)
    assert sorted(invariants) == sorted(INVARIANTS)


def test_every_finding_is_provoked_by_some_test():
    modules = (
        BYTES,
        NODE,
        OPERATOR,
        RECORDS,
        LIFE,
        RECEIPTS,
        INSPECTION,
        CALENDAR,
        STATEMENTS,
        CLAIMS,
        "verify_clean",
        "sampling",
        "proof_packets",
        "time_stamps",
    )
    texts = "".join(Path(_module(name).__file__).read_text("utf-8") for name in modules)
    assert [code for code in CODES if f'"{code}"' not in texts] == []
