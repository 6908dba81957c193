"""What one segment costs. PURE: a segment, the facts of its allocation and the terms in, charges out.

The same arithmetic as `suanli.rating.usage`, one segment at a time: billable is what was observed in use
where it was authorised; live and worked time fill it from the front. Amounts are exact fractions of a fen.
"""

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction

from suanli.evidence.rating_inputs import observed_use
from suanli.evidence.windows import Segment
from suanli.rating.inputs import WHOLE_PPM, Authorisation
from suanli.rating.intervals import Stretch, overlap
from suanli.rating.prices import FOREVER_MS, Terms, exact_fen
from suanli.rating.usage import authorised_share_ppm

CHARGE_LABEL = "suanli/charge/v1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log a segment stands."""

    log_index: int
    n: int


@dataclass(frozen=True, slots=True)
class Charge:
    """The exact price of one stretch. `corrects` names the charge that it takes back in part."""

    place: Place
    firm_id: str
    job_id: str
    allocation_id: str
    device_id: str
    device_model: str
    from_ms: int
    to_ms: int
    billable_ms: int
    live_ms: int
    worked_ms: int
    share_ppm: int
    price_id: str | None
    amount_fen: Fraction
    corrects: str | None = None

    @property
    def charge_id(self) -> str:
        """The same stretch of the same segment has the same id: charging twice is charging once."""
        place = self.place
        numbers = (place.log_index, place.n, self.from_ms, self.to_ms)
        material = "\n".join([CHARGE_LABEL, *map(str, numbers), self.corrects or ""])
        return hashlib.sha256(material.encode()).hexdigest()


def authorised(authorisation: Authorisation) -> Stretch:
    """[granted, ended) of an allocation; an open one is authorised until somebody says that it ended."""
    ended_ms = FOREVER_MS if authorisation.ended_ms is None else authorisation.ended_ms
    return authorisation.granted_ms, ended_ms


def charges_of(
    place: Place, segment: Segment, authorisation: Authorisation, terms: Terms, device_model: str
) -> list[Charge]:
    """The charges of a segment: one per stretch of constant price; one of no time where nothing is owed."""
    stretch = None
    use = observed_use(segment)
    share_ppm = authorised_share_ppm(authorisation, use)
    if segment.observed == "in_use" and share_ppm:
        stretch = overlap((segment.start_ms, segment.end_ms), authorised(authorisation))
    nothing = Charge(
        place=place,
        firm_id=authorisation.firm_id,
        job_id=authorisation.job_id,
        allocation_id=authorisation.allocation_id,
        device_id=segment.device.device_id,
        device_model=device_model,
        from_ms=segment.start_ms,
        to_ms=segment.start_ms,
        billable_ms=0,
        live_ms=0,
        worked_ms=0,
        share_ppm=share_ppm or WHOLE_PPM,
        price_id=None,
        amount_fen=Fraction(0),
    )
    if stretch is None:
        return [nothing]
    charges: list[Charge] = []
    live_left, busy_left = segment.live_ms, segment.busy_ms
    for epoch, start_ms, end_ms in terms.epochs(*stretch):
        length = end_ms - start_ms
        live, busy = min(length, live_left), min(length, busy_left)
        live_left -= live
        busy_left -= busy
        price = terms.price(epoch)
        charges.append(
            replace(
                nothing,
                from_ms=start_ms,
                to_ms=end_ms,
                billable_ms=length,
                live_ms=live,
                worked_ms=busy,
                price_id=price.price_id if price else None,
                amount_fen=exact_fen(length * share_ppm, price.price_nano_cny) if price else Fraction(0),
            )
        )
    return charges


def correction_of(charge: Charge, ended_ms: int) -> Charge | None:
    """What takes back the part of a charge beyond the end of its allocation; None where there is none.

    Live and worked time fill a stretch from its front, so what is left of them is what rating with the end
    known would have counted: original and correction together are the rating from scratch.
    """
    if charge.to_ms <= ended_ms or charge.billable_ms <= 0:
        return None
    from_ms = max(charge.from_ms, ended_ms)
    kept_ms = from_ms - charge.from_ms
    taken_ms = charge.billable_ms - kept_ms
    return replace(
        charge,
        from_ms=from_ms,
        billable_ms=-taken_ms,
        live_ms=min(kept_ms, charge.live_ms) - charge.live_ms,
        worked_ms=min(kept_ms, charge.worked_ms) - charge.worked_ms,
        amount_fen=-charge.amount_fen * taken_ms / charge.billable_ms,
        corrects=charge.charge_id,
    )
