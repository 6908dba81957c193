"""Steps 14 and 15: the statement recomputed from the log by the ledger's own function, and its sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suanli.evidence.bundle import STATEMENT
from suanli.evidence.bundle_files import read_file
from suanli.evidence.errors import EvidenceError
from suanli.evidence.limits import limit
from suanli.evidence.moments import shown_time
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import PriceVersion, ProgramVersion, Record
from suanli.evidence.statement_file import (
    STATEMENT_LIMIT_BYTES,
    ClaimedFirm,
    ClaimedStatement,
    parse_statement,
    read_statement,
)
from suanli.evidence.steps.case import Case
from suanli.evidence.steps.windows import PartResult
from suanli.rating.balance import Buckets
from suanli.rating.held import HeldTime, state_held
from suanli.rating.inputs import GRID_MS
from suanli.rating.intervals import overlap
from suanli.rating.prices import round_half_away
from suanli.rating.statements import state_usage
from suanli.rating.usage import UsageCollector


def read_claim(case: Case) -> ClaimedStatement | None:
    """The statement as claimed; and the inputs of rating, as far as they are records below its log size."""
    try:
        claimed = parse_statement(read_file(case.files, STATEMENT, STATEMENT_LIMIT_BYTES))
    except EvidenceError as error:
        case.report.add("statement.format", error.field, error.want, error.got)
        return None
    if (claimed.from_ms, claimed.to_ms) != case.known.period:
        expected, found = str(list(case.known.period)), str([claimed.from_ms, claimed.to_ms])
        case.report.add("statement.period", "period", expected, found)
        return None
    if claimed.log_size > case.known.head.size:
        expected = f"at most {case.known.head.size}, the size of the log"
        case.report.add("statement.log_size", "log_size", expected, str(claimed.log_size))
        return None
    collector = RatingCollector()
    for item in case.records:
        if item.index < claimed.log_size:
            collector.add_record(item.index, item.record)
    case.known.rating = collector.inputs(claimed.log_size)
    case.known.closed_at = claimed.log_size
    return claimed


def collect_terms(case: Case) -> None:
    """Step 14, first part: which versions are the first of their price or program, and which change one."""
    begun: set[str] = set()
    for item in case.records:
        version = item.record
        if isinstance(version, PriceVersion):
            of = f"price of {version.device_model}"
        elif isinstance(version, ProgramVersion):
            of = f"program {version.program_id}"
        else:
            continue
        if of in begun:
            case.known.changed_terms[item.index] = of
        begun.add(of)


def check_statement(
    case: Case, claimed: ClaimedStatement, seen: PartResult
) -> Mapping[str, Sequence[HeldTime]]:
    """Steps 14 and 15: same charges, same lines, same sums, to the fen. Gives the time that each firm held."""
    inputs, usage = case.known.rating, seen.usage
    if inputs is None or usage is None or seen.balance is None:
        return {}
    _check_terms(case, seen)
    if seen.late:
        # What a period used but was logged after its close is due as a correction.
        expected = f"windows of the period below log size {claimed.log_size}"
        found = f"{seen.late} windows after it: corrections in a later period"
        case.report.add("statement.after_close", "windows", expected, found, seen.late_index)
    held = UsageCollector(inputs, case.known.period)
    for authorisation in inputs.authorisations.values():
        held.hold(authorisation)
    held.usage.add(usage)
    firm_id = case.known.manifest.scope.firm_id
    balance = seen.balance if case.known.for_auditor else None
    recomputed = read_statement(state_usage(held.usage, balance, inputs, case.known.period, firm_id))
    _compare(case, recomputed, claimed)
    _compare_device_time(case, recomputed, claimed)
    if case.report.explained("statement.rating"):
        # The re-rating stands on damaged entries; that the claim adds up can be asked all the same.
        for firm, firm_claim in claimed.firms.items():
            _check_sums(case, firm, firm_claim)
    _state_facts(case, seen, recomputed)
    return state_held(held.usage, seen.balance)


def _check_terms(case: Case, seen: PartResult) -> None:
    """A price or program version is stated once, and before it takes effect.

    The first version may come late: until then nothing was charged, or paid. What was in force is not changed when it
    has been used: else the operator could choose its price when it knows the use.
    """
    newest = case.known.newest
    stated: dict[str, Record] = {}
    first_use_ms = case.known.period[1] if seen.first_ms is None else seen.first_ms
    for item in case.records:
        version = item.record
        if isinstance(version, PriceVersion):
            name = f"price {version.price_id}"
        elif isinstance(version, ProgramVersion):
            name = f"program {version.program_id} v{version.version}"
        else:
            continue
        if name in stated and stated[name] != version:
            case.report.add("terms.twice", name, "one meaning for ever", "another", item.index)
        stated.setdefault(name, version)
        known_ms = newest.at_ms(item.index)
        # Before the first window there was nothing that terms could have been made up for.
        applied_from_ms = max(version.effective_from_ms, first_use_ms)
        used_ms = max(known_ms, seen.ended_before.get(item.index, 0))
        rewritten = overlap((applied_from_ms, used_ms - GRID_MS), case.known.period)
        if item.index in case.known.changed_terms and rewritten is not None:
            expected = (
                f"logged before it changes what is in force, at {shown_time(version.effective_from_ms)}"
            )
            case.report.add(
                "terms.rewritten", name, expected, f"logged after {shown_time(used_ms)}", item.index
            )
        elif applied_from_ms < known_ms - case.known.settings.clock_tolerance_ms:
            expected = f"logged before it took effect at {shown_time(version.effective_from_ms)}"
            case.report.add(
                "terms.retroactive", name, expected, f"logged after {shown_time(known_ms)}", item.index
            )


def _compare(case: Case, recomputed: ClaimedStatement, claimed: ClaimedStatement) -> None:
    for firm_id in sorted(recomputed.firms.keys() | claimed.firms.keys()):
        want, got = recomputed.firms.get(firm_id), claimed.firms.get(firm_id)
        entity = f"firm {firm_id}"
        if want is None or got is None:
            expected, found = ("no such firm", "a firm") if want is None else ("the firm", "no such firm")
            case.report.add("statement.rating", entity, expected, found)
        else:
            _compare_firm(case, entity, want, got)


def _compare_firm(case: Case, entity: str, want: ClaimedFirm, got: ClaimedFirm) -> None:
    wrong_lines = want.name != got.name
    if wrong_lines:
        case.report.add("statement.rating", f"{entity}, name", want.name, got.name)
    for key in sorted(want.lines.keys() | got.lines.keys()):
        where = f"{entity}, {key}"
        line, other = want.lines.get(key), got.lines.get(key)
        if line is None or other is None:
            wrong_lines = True
            expected, found = ("no such line", "a line") if line is None else ("the line", "no such line")
            case.report.add("statement.rating", where, expected, found)
            continue
        for name, value in line.items():
            if other[name] != value:
                wrong_lines = True
                case.report.add("statement.rating", f"{where}, {name}", str(value), str(other[name]))
    sums = [
        (f"{key}, {name}", firm_value, other_value)
        for key in sorted(want.subsidies.keys() | got.subsidies.keys())
        for name in ("base_fen", "amount_fen")
        for firm_value in [want.subsidies.get(key, {}).get(name)]
        for other_value in [got.subsidies.get(key, {}).get(name)]
    ]
    sums.append(("total_fen", want.total_fen, got.total_fen))
    sums.append(("net_fen", want.net_fen, got.net_fen))
    for name, expected_sum, found_sum in sums:
        if expected_sum != found_sum:
            # A wrong line makes wrong sums; a wrong sum over right lines is a cause of its own.
            where, follows = f"{entity}, {name}", wrong_lines
            case.report.add("statement.sum", where, str(expected_sum), str(found_sum), follows=follows)
            wrong_lines = True


def _compare_device_time(case: Case, recomputed: ClaimedStatement, claimed: ClaimedStatement) -> None:
    """What the statement says of device time, bucket by bucket; older ones of all firms say nothing of it."""
    want, got = recomputed.device_time, claimed.device_time
    if case.report.explained("statement.device_time"):
        return  # of damaged entries no bucket can be told; that they are damaged has been said
    if got is None:
        if want is not None:
            case.not_proved.append(limit("device_time_unstated"))
        return
    if want is None:
        expected = "nothing of device time in a statement of one firm"
        case.report.add("statement.device_time", "device time", expected, f"{len(got)} models")
        return
    for model in sorted(want.keys() | got.keys()):
        times, others = want.get(model, {}), got.get(model, {})
        for name in times or others:
            if times.get(name) != others.get(name):
                expected, found = (str(side.get(name, "no such model")) for side in (times, others))
                case.report.add("statement.device_time", f"device model {model}, {name}", expected, found)


def _check_sums(case: Case, firm_id: str, firm: ClaimedFirm) -> None:
    for key, line in firm.lines.items():
        rounded = round_half_away(firm.charges[key])
        if line["amount_fen"] != rounded:
            where = f"firm {firm_id}, {key}, amount_fen"
            case.report.add("statement.sum", where, str(rounded), str(line["amount_fen"]))
    total = sum(round_half_away(exact) for exact in firm.charges.values())
    net = total - sum(int(str(subsidy["amount_fen"])) for subsidy in firm.subsidies.values())
    for name, want, got in (("total_fen", total, firm.total_fen), ("net_fen", net, firm.net_fen)):
        if want != got:
            case.report.add("statement.sum", f"firm {firm_id}, {name}", str(want), str(got))


def _state_facts(case: Case, seen: PartResult, recomputed: ClaimedStatement) -> None:
    case.facts["charges_recomputed"] = {
        "firms": len(recomputed.firms),
        "lines": sum(len(firm.lines) for firm in recomputed.firms.values()),
        "total_fen": sum(firm.total_fen for firm in recomputed.firms.values()),
        "net_fen": sum(firm.net_fen for firm in recomputed.firms.values()),
    }
    if case.known.for_auditor and seen.balance is not None:
        total = Buckets()
        for buckets in seen.balance.balance().values():
            total.add(buckets)
        case.facts["device_time_ms"] = total.whole_ms()
