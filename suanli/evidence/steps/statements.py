"""Steps 14 and 15: the statement recomputed from the log by the ledger's own function, and its sums."""

from __future__ import annotations

from suanli.evidence.bundle import STATEMENT
from suanli.evidence.errors import EvidenceError
from suanli.evidence.findings import CODES
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.records import PriceVersion, ProgramVersion, Record
from suanli.evidence.statement_file import ClaimedFirm, ClaimedStatement, parse_statement, read_statement
from suanli.evidence.steps.case import Case
from suanli.evidence.steps.times import NewestKnown
from suanli.rating.balance import device_balance
from suanli.rating.inputs import WHOLE_PPM, RatingInputs
from suanli.rating.intervals import overlap
from suanli.rating.prices import round_half_away
from suanli.rating.statements import build_statement


def check_statement(case: Case) -> None:
    """Steps 14 and 15: same charges, same lines, same sums, to the fen."""
    try:
        claimed = parse_statement(case.files[STATEMENT])
    except EvidenceError as error:
        case.report("statement.format", error.field, error.want, error.got)
        return
    if (claimed.from_ms, claimed.to_ms) != case.period:
        expected, found = str(list(case.period)), str([claimed.from_ms, claimed.to_ms])
        case.report("statement.period", "period", expected, found)
        return
    if claimed.log_size > case.head.size:
        expected = f"at most {case.head.size}, the size of the log"
        case.report("statement.log_size", "log_size", expected, str(claimed.log_size))
        return
    _check_terms(case)
    _check_close(case, claimed.log_size)
    inputs = _inputs(case, claimed.log_size)
    recomputed = read_statement(build_statement(inputs, *case.period, case.manifest.scope.firm_id))
    _compare(case, recomputed, claimed)
    if case.explained(CODES["statement.rating"][0]):
        # The re-rating stands on damaged entries; that the claim adds up can be asked all the same.
        for firm_id, firm in claimed.firms.items():
            _check_sums(case, firm_id, firm)
    _state_facts(case, inputs, recomputed)


def _inputs(case: Case, log_size: int) -> RatingInputs:
    """Inputs of rating from everything below `log_size`, in log order."""
    collector = RatingCollector()
    for item in case.records:
        if item.index < log_size:
            collector.add_record(item.index, item.record)
    for window in case.windows:
        if window.index < log_size:
            collector.add_segments(segment for segment in window.segments if segment is not None)
    return collector.inputs(log_size)


def _check_terms(case: Case) -> None:
    """A price or program version is stated once, and before it takes effect."""
    newest = NewestKnown(case)
    stated: dict[str, Record] = {}
    first_use_ms = min((window.header.start_ms for window in case.windows), default=case.period[1])
    for item in case.records:
        version = item.record
        if isinstance(version, PriceVersion):
            name = f"price {version.price_id}"
        elif isinstance(version, ProgramVersion):
            name = f"program {version.program_id} v{version.version}"
        else:
            continue
        if name in stated and stated[name] != version:
            case.report("terms.twice", name, "one meaning for ever", "another", item.index)
        stated.setdefault(name, version)
        known_ms = newest.at_ms(item.index)
        # Before the first window there was nothing that terms could have been made up for.
        applied_from_ms = max(version.effective_from_ms, first_use_ms)
        if applied_from_ms < known_ms - case.settings.clock_tolerance_ms:
            expected = f"logged before it took effect at {version.effective_from_ms} ms"
            case.report("terms.retroactive", name, expected, f"logged after {known_ms} ms", item.index)


def _check_close(case: Case, log_size: int) -> None:
    """What a period used but was logged after its close is due as a correction."""
    late = [
        w.index
        for w in case.windows
        if w.index >= log_size and overlap((w.header.start_ms, w.header.end_ms), case.period) is not None
    ]
    if late:
        expected = f"windows of the period below log size {log_size}"
        found = f"{len(late)} windows after it: corrections in a later period"
        case.report("statement.after_close", "windows", expected, found, late[0])


def _compare(case: Case, recomputed: ClaimedStatement, claimed: ClaimedStatement) -> None:
    for firm_id in sorted(recomputed.firms.keys() | claimed.firms.keys()):
        want, got = recomputed.firms.get(firm_id), claimed.firms.get(firm_id)
        entity = f"firm {firm_id}"
        if want is None or got is None:
            expected, found = ("no such firm", "a firm") if want is None else ("the firm", "no such firm")
            case.report("statement.rating", entity, expected, found)
        else:
            _compare_firm(case, entity, want, got)


def _compare_firm(case: Case, entity: str, want: ClaimedFirm, got: ClaimedFirm) -> None:
    wrong_lines = want.name != got.name
    if wrong_lines:
        case.report("statement.rating", f"{entity}, name", want.name, got.name)
    for key in sorted(want.lines.keys() | got.lines.keys()):
        where = f"{entity}, {key}"
        line, other = want.lines.get(key), got.lines.get(key)
        if line is None or other is None:
            wrong_lines = True
            expected, found = ("no such line", "a line") if line is None else ("the line", "no such line")
            case.report("statement.rating", where, expected, found)
            continue
        for name, value in line.items():
            if other[name] != value:
                wrong_lines = True
                case.report("statement.rating", f"{where}, {name}", str(value), str(other[name]))
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
            add = case.follow if wrong_lines else case.report
            add("statement.sum", f"{entity}, {name}", str(expected_sum), str(found_sum))
            wrong_lines = True


def _check_sums(case: Case, firm_id: str, firm: ClaimedFirm) -> None:
    for key, line in firm.lines.items():
        rounded = round_half_away(firm.charges[key])
        if line["amount_fen"] != rounded:
            where = f"firm {firm_id}, {key}, amount_fen"
            case.report("statement.sum", where, str(rounded), str(line["amount_fen"]))
    total = sum(round_half_away(exact) for exact in firm.charges.values())
    net = total - sum(int(str(subsidy["amount_fen"])) for subsidy in firm.subsidies.values())
    for name, want, got in (("total_fen", total, firm.total_fen), ("net_fen", net, firm.net_fen)):
        if want != got:
            case.report("statement.sum", f"firm {firm_id}, {name}", str(want), str(got))


def _state_facts(case: Case, inputs: RatingInputs, recomputed: ClaimedStatement) -> None:
    case.facts["charges_recomputed"] = {
        "firms": len(recomputed.firms),
        "lines": sum(len(firm.lines) for firm in recomputed.firms.values()),
        "total_fen": sum(firm.total_fen for firm in recomputed.firms.values()),
        "net_fen": sum(firm.net_fen for firm in recomputed.firms.values()),
    }
    if case.for_auditor:
        totals = {"allocated": 0, "idle": 0, "reserved": 0, "maintenance": 0, "faulty": 0, "unknown": 0}
        for buckets in device_balance(inputs, *case.period).values():
            for name in totals:
                totals[name] += getattr(buckets, name)
        case.facts["device_time_ms"] = {name: value // WHOLE_PPM for name, value in totals.items()}
