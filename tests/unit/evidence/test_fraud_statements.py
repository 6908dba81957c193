"""Statements as entries: what a period was closed with, and what an operator shows later."""

import hashlib
from dataclasses import replace

import pytest

from suanli.evidence.bundle import STATEMENT, firm_scope
from suanli.evidence.records import PERIOD_CLOSED, AdministrativeAct
from suanli.evidence.statement_entry import Statement
from suanli.evidence.steps.closing import firm_digest
from suanli.evidence.verify import verify
from suanli.rating.balance import collect_balance
from suanli.rating.held import state_held
from suanli.rating.statements import firm_part
from suanli.rating.usage import collect_usage
from tests.builders.evidence import GRID, MODEL, T0, honest_operator, price
from tests.builders.verdicts import assert_found, codes, judged

PERIOD = (T0, T0 + 6 * GRID)


def statement_at(size):
    """What an honest operator would state of the first entries of its log."""
    short = honest_operator()
    del short.log[size:]
    return short.statement(PERIOD)


def held_at(size):
    """What an honest operator would state of the time that firms held devices, by the first entries of its log."""
    short = honest_operator()
    del short.log[size:]
    inputs = short.collector().inputs(size)
    return state_held(collect_usage(inputs, *PERIOD), collect_balance(inputs, *PERIOD))


def closed_operator(late=0, **changes):
    """An operator that has closed its period, `late` entries too early; `changes` go to the statement of firm-a."""
    operator = honest_operator()
    size = len(operator.log) - late
    value, held = statement_at(size), held_at(size)
    for firm in value["firms"]:
        firm_id, sums = firm["firm_id"], (firm["total_fen"], firm["net_fen"])
        closed = Statement(
            firm_id, *PERIOD, size, firm_digest(value, firm_id), *sums, PERIOD[1], held[firm_id]
        )
        operator.add(replace(closed, **changes) if firm_id == "firm-a" else closed)
    return operator, size


def as_closed(size):
    """The statement that a bundle of the closed period holds."""

    def change(value):
        value["log_size"] = size

    return change


def test_a_bundle_shows_the_statement_that_closed_its_period():
    operator, size = closed_operator()
    verdict = judged(operator, change_statement=as_closed(size))
    assert verdict.verified
    assert verdict.facts["statements"] == {"firms": 2, "logged": 2}
    assert all(item.name != "statements_unlogged" for item in verdict.not_proved)


def test_a_firm_holds_its_own_statement_against_its_entry():
    operator, size = closed_operator()
    files = operator.bundle(PERIOD, firm_scope("firm-a"), change_statement=as_closed(size))
    verdict = verify(files, policy=operator.policy())
    assert verdict.verified
    assert verdict.facts["statements"] == {"firms": 1, "logged": 1}
    entry = next(item.record for item in operator.log if isinstance(item.record, Statement))
    assert hashlib.sha256(files[STATEMENT]).hexdigest() == entry.sha256


def test_windows_logged_after_the_close_of_their_period_are_noticed():
    operator, size = closed_operator(late=1)
    verdict = judged(operator, change_statement=lambda value: value.update(statement_at(size)))
    assert verdict.verified
    assert codes(verdict, "warning") == {"statement.after_close"}


def cut_short(value):
    """A statement over the log before anything was used, in place of the whole one."""
    log = honest_operator().log
    value.update(statement_at(next(n for n, item in enumerate(log) if item.node_name is not None)))


def test_nobody_leaves_the_last_of_the_log_out_of_a_period_that_was_not_closed():
    verdict = judged(honest_operator(), change_statement=cut_short)
    assert verdict.facts["charges_recomputed"]["total_fen"] == 0
    assert_found(verdict, {"statement.log_size"})


def test_an_act_of_closing_without_a_statement_cuts_no_auditors_period_short():
    operator = honest_operator()
    operator.add(
        AdministrativeAct(PERIOD_CLOSED, "machine", "machine", f"{PERIOD[0]}/{PERIOD[1]}", PERIOD[1])
    )
    assert_found(judged(operator, change_statement=cut_short), {"statement.log_size"})


@pytest.mark.parametrize("closed", [True, False])
def test_a_firm_that_used_nothing_knows_of_the_close_by_the_act(closed):
    operator = honest_operator()
    size = len(operator.log)
    subject = f"{PERIOD[0]}/{PERIOD[1] if closed else PERIOD[1] + GRID}"
    operator.add(AdministrativeAct(PERIOD_CLOSED, "machine", "machine", subject, PERIOD[1]))
    files = operator.bundle(PERIOD, firm_scope("firm-c"), change_statement=as_closed(size))
    verdict = verify(files, policy=operator.policy())
    assert codes(verdict, "error") == (set() if closed else {"statement.log_size"})
    assert verdict.verified is closed


def test_a_period_that_was_not_closed_is_stated():
    verdict = judged(honest_operator())
    assert verdict.verified
    (said,) = [item for item in verdict.not_proved if item.name == "statements_unlogged"]
    assert "2 of 2" in said.text("en")
    assert "2" in said.text("zh")


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"total_fen": 1}, {"net_fen": -1}, {"log_size": 3}])
def test_a_period_closed_with_another_statement_is_named(change):
    operator, size = closed_operator(**change)
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.entry"})


def test_a_statement_changed_after_the_period_was_closed_is_named_by_what_it_claims():
    operator, size = closed_operator()

    def change(value):
        value["log_size"] = size
        value["firms"][0]["total_fen"] += 1

    assert_found(judged(operator, change_statement=change), {"statement.sum"}, {"statement.entry"})


def test_a_period_closed_again_is_named():
    operator, size = closed_operator()
    entry = next(item.record for item in operator.log if isinstance(item.record, Statement))
    operator.add(replace(entry, total_fen=entry.total_fen + 1))
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.twice"})


@pytest.mark.parametrize(
    "period", [(T0 - 9 * GRID, T0 + GRID), (T0 + GRID, T0 + 2 * GRID), (T0, T0 + 9 * GRID)]
)
def test_time_closed_twice_is_named_whatever_the_other_period_is(period):
    operator, size = closed_operator()
    entry = next(item.record for item in operator.log if isinstance(item.record, Statement))
    operator.add(replace(entry, from_ms=period[0], to_ms=period[1]))
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.twice"})
    assert_found(judged_by_firm(operator, size), {"statement.twice"})


@pytest.mark.parametrize("first", [T0 - 6 * GRID, T0 + 6 * GRID])
def test_periods_that_meet_are_closed_one_after_the_other(first):
    operator, size = closed_operator()
    entry = next(item.record for item in operator.log if isinstance(item.record, Statement))
    operator.add(replace(entry, from_ms=first, to_ms=first + 6 * GRID))
    assert judged(operator, change_statement=as_closed(size)).verified


def test_a_statement_made_anew_over_a_longer_log_is_not_the_one_that_closed_the_period():
    operator, _ = closed_operator()
    operator.add(price(price_id="price-2", effective_from_ms=PERIOD[1]))
    assert_found(judged(operator), {"statement.entry"})


def test_a_period_closed_over_entries_that_were_to_come_is_named():
    operator, size = closed_operator(log_size=10_000)
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.entry"})


def test_a_statement_of_all_firms_says_what_the_time_of_the_devices_was():
    value = honest_operator().statement(PERIOD)
    (model,) = value["device_time"]
    buckets = {
        name: time_ms for name, time_ms in model.items() if name not in ("device_model", "enrolled_ms")
    }
    assert model["enrolled_ms"] == sum(buckets.values()) == 4 * 6 * GRID
    billable_ms = sum(line["billable_ms"] for firm in value["firms"] for line in firm["lines"])
    assert model["allocated_ms"] == billable_ms > 0


def moved(value):
    """Idle time called allocated: the sum still fits."""
    value["device_time"][0]["idle_ms"] -= 60_000
    value["device_time"][0]["allocated_ms"] += 60_000


def hidden(value):
    """Devices that nobody is to ask about."""
    value["device_time"] = []


def made_up(value):
    """Devices that are not there."""
    value["device_time"].append({**value["device_time"][0], "device_model": "mlu370-x8"})


@pytest.mark.parametrize("change", [moved, hidden, made_up])
def test_device_time_that_the_windows_do_not_tell_is_named(change):
    assert_found(judged(honest_operator(), change_statement=change), {"statement.device_time"})


def test_a_statement_from_before_device_time_was_told_verifies_and_that_is_stated():
    operator, size = closed_operator()

    def older(value):
        del value["device_time"]
        value.update(schema="suanli.statement.v1", log_size=size)

    verdict = judged(operator, change_statement=older)
    assert verdict.verified
    assert verdict.facts["statements"] == {"firms": 2, "logged": 2}
    assert "device_time_unstated" in {item.name for item in verdict.not_proved}


def test_a_firm_is_told_nothing_of_the_devices_of_others():
    operator = honest_operator()
    whole = operator.statement(PERIOD)
    assert firm_part(whole, "firm-a") == operator.statement(PERIOD, firm_scope("firm-a"))

    def betray(value):
        value.update(schema="suanli.statement.v2", device_time=whole["device_time"])

    files = operator.bundle(PERIOD, firm_scope("firm-a"), change_statement=betray)
    assert_found(verify(files, policy=operator.policy()), {"statement.device_time"})


def held_by_firm_a(**changes):
    """What firm-a's entry says of the time that it held; each change is added to the honest figure."""
    operator = honest_operator()
    (of,) = held_at(len(operator.log))["firm-a"]
    return replace(of, **{name: getattr(of, name) + more for name, more in changes.items()})


def judged_by_firm(operator, size):
    files = operator.bundle(PERIOD, firm_scope("firm-a"), change_statement=as_closed(size))
    return verify(files, policy=operator.policy())


def test_a_closed_period_says_what_the_time_was_that_a_firm_held():
    operator, size = closed_operator()
    of = held_by_firm_a()
    assert of.device_model == MODEL
    assert of.held_ms == of.allocated_ms + of.unused_ms
    assert 0 < of.worked_ms < of.live_ms == of.allocated_ms
    assert of.reserved_ms > 0 == of.faulty_ms
    verdict = judged_by_firm(operator, size)
    assert verdict.verified
    assert verdict.facts["held_time_ms"] == {
        name: getattr(of, f"{name}_ms") for name in ("held", "allocated", "reserved", "faulty", "unknown")
    }


LONGER = {"held_ms": 1_000, "reserved_ms": 1_000}
BUSIER = {"allocated_ms": 1_000, "reserved_ms": -1_000}
LEFT_OUT = {"reserved_ms": -1_000}


@pytest.mark.parametrize("lie", [LONGER, BUSIER, LEFT_OUT, {"live_ms": 1}, {"worked_ms": 1}])
def test_held_time_that_the_log_does_not_tell_is_named_by_auditor_and_firm(lie):
    operator, size = closed_operator(held=(held_by_firm_a(**lie),))
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.held"})
    assert_found(judged_by_firm(operator, size), {"statement.held"})


def test_held_time_of_a_model_that_is_not_there_or_is_hidden_is_named():
    for held in ((), (held_by_firm_a(), replace(held_by_firm_a(), device_model="mlu370-x8"))):
        operator, size = closed_operator(held=held)
        assert_found(judged(operator, change_statement=as_closed(size)), {"statement.held"})
        assert_found(judged_by_firm(operator, size), {"statement.held"})


def test_faults_called_reserved_are_named_by_the_auditor_and_the_firm_is_told_what_it_cannot_see():
    operator, size = closed_operator(held=(held_by_firm_a(reserved_ms=-1_000, faulty_ms=1_000),))
    assert_found(judged(operator, change_statement=as_closed(size)), {"statement.held"})
    verdict = judged_by_firm(operator, size)
    assert verdict.verified
    assert "held_unused" in {item.name for item in verdict.not_proved}


def test_an_entry_from_before_held_time_was_told_verifies_and_that_is_stated():
    operator, size = closed_operator(held=None)
    for verdict in (judged(operator, change_statement=as_closed(size)), judged_by_firm(operator, size)):
        assert verdict.verified
        (said,) = [item for item in verdict.not_proved if item.name == "held_unstated"]
        assert "1 of" in said.text("en")
        assert "held_time_ms" not in verdict.facts


def test_of_a_period_that_is_open_a_firm_is_told_no_time_held_rather_than_none():
    operator = honest_operator()
    verdict = verify(operator.bundle(PERIOD, firm_scope("firm-a")), policy=operator.policy())
    assert verdict.verified
    assert "held_time_ms" not in verdict.facts
