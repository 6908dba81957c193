"""Usage figures: how much device time was requested, held, billable, live and worked.

Held is what was authorised; billable is what a node observed in use, where it was authorised; live and worked
are the parts of it with a live process and with a busy device. All are share-weighted: ppm x ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from suanli.rating.inputs import Authorisation, ObservedUse, RatingInputs
from suanli.rating.intervals import Stretch, overlap
from suanli.rating.prices import Terms


class UsageKey(NamedTuple):
    """Whose usage of what, in which stretch of constant terms."""

    firm_id: str
    job_id: str
    device_model: str
    epoch: int


@dataclass(slots=True)
class Quantities:
    """Device time in ppm x ms. `requested` is None when an allocation without a time limit began in it."""

    requested: int | None = 0
    held: int = 0
    billable: int = 0
    live: int = 0
    worked: int = 0

    def add(self, other: Quantities) -> None:
        """Adds another stretch of the same kind."""
        unlimited = self.requested is None or other.requested is None
        self.requested = None if unlimited else (self.requested or 0) + (other.requested or 0)
        self.held += other.held
        self.billable += other.billable
        self.live += other.live
        self.worked += other.worked


@dataclass(frozen=True, slots=True)
class Usage:
    """Quantities per key, and the terms that the keys' epochs refer to, per device model."""

    quantities: dict[UsageKey, Quantities]
    terms: dict[str, Terms]

    def add(self, other: Usage) -> None:
        """Adds usage collected elsewhere from the same inputs, so that epochs mean the same."""
        for key, quantities in other.quantities.items():
            self.quantities.setdefault(key, Quantities()).add(quantities)
        self.terms.update(other.terms)


def collect_usage(inputs: RatingInputs, from_ms: int, to_ms: int) -> Usage:
    """Usage in [from_ms, to_ms). Linear in the number of observed stretches."""
    collector = UsageCollector(inputs, (from_ms, to_ms))
    for authorisation in inputs.authorisations.values():
        collector.hold(authorisation)
    for observed in inputs.usage:
        collector.observe(observed)
    return collector.usage


_Key = tuple[str | None, str, str]
"""Allocation, device, and the model that the node says that it is."""


@dataclass(slots=True)
class _Given:
    """A device under an allocation: when and how much of it was given, and where its use was counted last."""

    authorisation: Authorisation
    share_ppm: int
    start_ms: int
    end_ms: int
    model: str
    terms: Terms
    epoch_start_ms: int = 0
    epoch_end_ms: int = 0
    """Stretches in here are of the epoch of `quantities`."""
    quantities: Quantities = field(default_factory=Quantities)


class UsageCollector:
    """Takes authorisations and observed stretches one by one; what it keeps does not grow with stretches."""

    def __init__(self, inputs: RatingInputs, period: Stretch) -> None:
        self._inputs = inputs
        self._period = period
        self.usage = self._usage = Usage({}, {})
        self._model_of = {device.device_id: device.device_model for device in inputs.devices}
        self._given: dict[_Key, _Given | None] = {}

    def _terms(self, model: str) -> Terms:
        terms = self._usage.terms.get(model)
        if terms is None:
            terms = Terms(
                [price for price in self._inputs.prices if price.device_model == model],
                [p for p in self._inputs.programs if not p.domestic_only or model in p.domestic_models],
            )
            self._usage.terms[model] = terms
        return terms

    def _at(self, authorisation: Authorisation, model: str, epoch: int) -> Quantities:
        key = UsageKey(authorisation.firm_id, authorisation.job_id, model, epoch)
        quantities = self._usage.quantities.get(key)
        if quantities is None:
            quantities = self._usage.quantities[key] = Quantities()
        return quantities

    def hold(self, authorisation: Authorisation) -> None:
        """Counts what was requested and held; an open allocation is held to the end of the period."""
        held = overlap(_authorised(authorisation, self._period[1]), self._period)
        if held is None:
            return
        for device_id, share_ppm in authorisation.share_ppm_of.items():
            model = self._model_of.get(device_id)
            if model is None:
                continue
            pieces = self._terms(model).epochs(*held)
            for epoch, start_ms, end_ms in pieces:
                self._at(authorisation, model, epoch).held += (end_ms - start_ms) * share_ppm
            if held[0] == authorisation.granted_ms:
                limit_ms = authorisation.time_limit_ms
                requested = None if limit_ms is None else limit_ms * share_ppm
                self._at(authorisation, model, pieces[0][0]).add(Quantities(requested=requested))

    def observe(self, observed: ObservedUse) -> None:
        """Counts an observed stretch as far as it was in use and authorised."""
        if observed.state != "in_use":
            return
        key = observed.allocation_id, observed.device_id, observed.device_model
        given = self._given[key] if key in self._given else self._find(key)
        if given is None:
            return
        # Written out, as auditors wait for millions of these: what lies in the period and was authorised.
        start_ms = observed.start_ms if observed.start_ms > given.start_ms else given.start_ms
        end_ms = observed.end_ms if observed.end_ms < given.end_ms else given.end_ms
        if start_ms >= end_ms:
            return
        share_ppm = observed.share_ppm if observed.share_ppm < given.share_ppm else given.share_ppm
        if not given.epoch_start_ms <= start_ms < end_ms <= given.epoch_end_ms:
            self._observe_pieces(given, observed, (start_ms, end_ms), share_ppm)
            return
        length, quantities = end_ms - start_ms, given.quantities
        quantities.billable += length * share_ppm
        quantities.live += min(length, observed.live_ms) * share_ppm
        quantities.worked += min(length, observed.busy_ms) * share_ppm

    def _find(self, key: _Key) -> _Given | None:
        """What was given under an allocation of a device, kept for the next stretch; None for nothing."""
        given: _Given | None = None
        allocation_id, device_id, told_model = key
        authorisation = self._inputs.authorisations.get(allocation_id or "")
        share_ppm = 0 if authorisation is None else authorisation.share_ppm_of.get(device_id, 0)
        held = (
            None
            if authorisation is None
            else overlap(_authorised(authorisation, self._period[1]), self._period)
        )
        if authorisation is not None and held is not None and share_ppm:
            # The registered model is what is priced: what a node says of itself must not choose its price.
            model = self._model_of.get(device_id, told_model)
            given = _Given(authorisation, share_ppm, *held, model, self._terms(model))
        self._given[key] = given
        return given

    def _observe_pieces(self, given: _Given, observed: ObservedUse, stretch: Stretch, share_ppm: int) -> None:
        """Counts a stretch where terms may change; live and worked time, known of all of it, fill it from the front."""
        live_left, busy_left = observed.live_ms, observed.busy_ms
        for epoch, start_ms, end_ms in given.terms.epochs(*stretch):
            length = end_ms - start_ms
            live, busy = min(length, live_left), min(length, busy_left)
            live_left -= live
            busy_left -= busy
            given.quantities = quantities = self._at(given.authorisation, given.model, epoch)
            given.epoch_start_ms, given.epoch_end_ms = given.terms.bounds(epoch)
            quantities.billable += length * share_ppm
            quantities.live += live * share_ppm
            quantities.worked += busy * share_ppm


def _authorised(authorisation: Authorisation, open_until_ms: int) -> Stretch:
    ended_ms = open_until_ms if authorisation.ended_ms is None else authorisation.ended_ms
    return authorisation.granted_ms, ended_ms


def authorised_share_ppm(authorisation: Authorisation | None, observed: ObservedUse) -> int:
    """The share that may be billed of an observed stretch: no more than was given, 0 without a grant."""
    if authorisation is None:
        return 0
    return min(observed.share_ppm, authorisation.share_ppm_of.get(observed.device_id, 0))
