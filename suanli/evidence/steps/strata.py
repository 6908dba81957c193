"""To which stratum of a sample a segment belongs: by firm, by device model, by how much its allocation costs."""

from __future__ import annotations

from suanli.evidence.sampling import Stratum
from suanli.evidence.steps.case import AllocationEvidence, Known
from suanli.evidence.windows import Segment
from suanli.rating.intervals import overlap
from suanli.rating.prices import Terms, exact_fen, round_half_away


class Strata:
    """Strata of segments; what an allocation costs is reckoned once, from what was held."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._magnitudes: dict[tuple[str, str], int] = {}
        self._terms: dict[str, Terms] = {}

    def of(self, allocation: AllocationEvidence, segment: Segment) -> Stratum:
        """The stratum of a segment in use under an allocation."""
        model = segment.device.model
        key = allocation.granted.allocation_id, model
        magnitude = self._magnitudes.get(key)
        if magnitude is None:
            magnitude = self._magnitudes[key] = len(str(self._amount_fen(allocation, model)))
        return Stratum(allocation.granted.firm_id, model, magnitude)

    def _amount_fen(self, allocation: AllocationEvidence, model: str) -> int:
        rating, period = self._known.rating, self._known.period
        held = overlap((allocation.granted.at_ms, allocation.end_ms), period)
        if rating is None or held is None:
            return 0
        terms = self._terms.get(model)
        if terms is None:
            prices = [price for price in rating.prices if price.device_model == model]
            terms = self._terms[model] = Terms(prices, [])
        share_ppm = sum(allocation.shares.values())
        amount = sum(
            exact_fen((end_ms - start_ms) * share_ppm, price.price_nano_cny)
            for epoch, start_ms, end_ms in terms.epochs(*held)
            if (price := terms.price(epoch)) is not None
        )
        return round_half_away(amount + exact_fen(0, 0))
