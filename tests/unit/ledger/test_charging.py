"""Charges of single segments add up to what the statement says, also when the end is said late."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from scheduler.ledger.charging import Charge, Place, charges_of, correction_of
from suanli.evidence.rating_inputs import observed_use
from suanli.evidence.windows import Segment
from suanli.rating.charges import charge
from suanli.rating.inputs import Authorisation, Price, RatingInputs, RegisteredDevice
from suanli.rating.prices import Terms
from suanli.rating.usage import collect_usage
from tests.builders.evidence import GRID, MODEL, T0, device, segment

DEVICE = device("d-1")
FIRST = Price("price-1", MODEL, 13_500_000_000, T0 - GRID, T0 + GRID, 1)
SECOND = Price("price-2", MODEL, 7_777_777_777, T0 + GRID, None, 2)
PRICES = [FIRST, SECOND]


def given_away(granted_ms: int, ended_ms: int | None) -> Authorisation:
    """The device given to a job."""
    return Authorisation("al-1", "job-1", 1, 0, "firm-a", "vision", {"d-1": 1_000_000}, granted_ms, ended_ms)


def in_use(start_ms: int, end_ms: int, live_ms: int, busy_ms: int) -> Segment:
    """The device in use."""
    return segment(
        DEVICE, start_ms, end_ms, observed="in_use", allocation_id="al-1", live_ms=live_ms, busy_ms=busy_ms
    )


def rated(segments: list[Segment], authorisation: Authorisation) -> list[Charge]:
    """The charges of all segments."""
    terms = Terms(PRICES, [])
    return [
        made
        for index, piece in enumerate(segments)
        for made in charges_of(Place(index, 0), piece, authorisation, terms, MODEL)
    ]


def statement_of(segments: list[Segment], authorisation: Authorisation) -> dict[str | None, tuple]:
    """What a statement over the same inputs says, by price."""
    inputs = RatingInputs(
        usage=[observed_use(piece) for piece in segments],
        authorisations={"al-1": authorisation},
        prices=PRICES,
        programs=[],
        firm_names={},
        devices=[RegisteredDevice("d-1", MODEL, T0 - GRID, None)],
        log_size=1,
    )
    lines = charge(collect_usage(inputs, T0 - GRID, T0 + 10 * GRID)).lines
    return {
        line.price_id: (
            line.quantities.billable // 1_000_000,
            line.quantities.live // 1_000_000,
            line.quantities.worked // 1_000_000,
            line.charge_fen,
        )
        for line in lines
        if line.quantities.billable
    }


def sums_of(charges: list[Charge]) -> dict[str | None, tuple]:
    """Charges by price."""
    sums: dict[str | None, tuple] = {}
    for made in charges:
        old = sums.get(made.price_id, (0, 0, 0, Fraction(0)))
        new = (made.billable_ms, made.live_ms, made.worked_ms, made.amount_fen)
        sums[made.price_id] = tuple(a + b for a, b in zip(old, new, strict=True))
    return {price_id: values for price_id, values in sums.items() if values[0]}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Segment], int, int]:
    """Segments of one device in a row, a grant and an end somewhere around them."""
    at_ms = T0 + draw(st.integers(0, 2 * GRID))
    segments = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, GRID))
        live = draw(st.integers(0, length))
        segments.append(in_use(at_ms, at_ms + length, live, draw(st.integers(0, live))))
        at_ms += length + draw(st.integers(0, 1000))
    granted_ms = draw(st.integers(T0, at_ms))
    return segments, granted_ms, draw(st.integers(granted_ms, at_ms + 1000))


@given(histories())
def test_charges_add_up_to_the_statement(history: tuple[list[Segment], int, int]) -> None:
    segments, granted_ms, ended_ms = history
    authorisation = given_away(granted_ms, ended_ms)
    assert sums_of(rated(segments, authorisation)) == statement_of(segments, authorisation)


@given(histories())
def test_charges_of_an_open_allocation_and_their_corrections_add_up_to_rating_from_scratch(
    history: tuple[list[Segment], int, int],
) -> None:
    segments, granted_ms, ended_ms = history
    early = rated(segments, given_away(granted_ms, None))
    corrections = [made for item in early if (made := correction_of(item, ended_ms)) is not None]
    assert all(made.billable_ms < 0 for made in corrections)
    assert sums_of([*early, *corrections]) == statement_of(segments, given_away(granted_ms, ended_ms))


@given(histories())
def test_every_charge_and_correction_has_an_id_of_its_own(history: tuple[list[Segment], int, int]) -> None:
    segments, granted_ms, ended_ms = history
    early = rated(segments, given_away(granted_ms, None))
    corrections = [made for item in early if (made := correction_of(item, ended_ms)) is not None]
    ids = [made.charge_id for made in (*early, *corrections)]
    assert len(set(ids)) == len(ids)
    assert ids == [made.charge_id for made in (*early, *corrections)]


def test_what_is_not_in_use_owes_nothing_and_is_marked_as_looked_at() -> None:
    free = replace(in_use(T0, T0 + 1000, 0, 0), observed="faulty")
    [made] = rated([free], given_away(T0, None))
    assert (made.billable_ms, made.amount_fen, made.price_id, made.from_ms) == (0, 0, None, made.to_ms)


def test_a_device_that_was_not_given_owes_nothing() -> None:
    other = replace(given_away(T0, None), share_ppm_of={"d-9": 1_000_000})
    [made] = rated([in_use(T0, T0 + 1000, 0, 0)], other)
    assert made.billable_ms == 0


def test_a_share_is_charged_in_proportion() -> None:
    half = replace(given_away(T0, None), share_ppm_of={"d-1": 500_000})
    [made] = rated([in_use(T0, T0 + 3_600, 3_600, 0)], half)
    assert made.amount_fen == Fraction(13_500_000_000 * 3_600, 2 * 3_600_000 * 10_000_000)
