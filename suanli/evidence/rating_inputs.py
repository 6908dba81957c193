"""From evidence to rating: log entries become the plain values that `suanli.rating` is a function of.

The ledger and the verifier feed the same collector in log order, so that both rate the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from suanli.evidence.calendar import MAINTENANCE, RESERVED, DeviceCalendar, Plans
from suanli.evidence.records import (
    AllocationEvent,
    DeviceEvent,
    Firm,
    PriceVersion,
    ProgramVersion,
    Record,
)
from suanli.evidence.windows import Segment
from suanli.rating.attribution import NODE_LOST
from suanli.rating.inputs import (
    Authorisation,
    ObservedUse,
    Price,
    Program,
    RatingInputs,
    RegisteredDevice,
)


def observed_use(segment: Segment) -> ObservedUse:
    """A segment as rating sees it."""
    return ObservedUse(
        segment.device.device_id,
        segment.device.model,
        segment.start_ms,
        segment.end_ms,
        segment.observed,
        segment.allocation_id,
        segment.share_ppm,
        segment.live_ms,
        segment.busy_ms,
    )


class RatingCollector:
    """Takes records and segments in log order and gives the inputs of rating."""

    def __init__(self) -> None:
        self._usage: list[ObservedUse] = []
        self._authorisations: dict[str, Authorisation] = {}
        self._prices: list[Price] = []
        self._programs: list[Program] = []
        self._firm_names: dict[str, str] = {}
        self._devices: list[RegisteredDevice] = []
        self._open_device: dict[str, int] = {}
        self._plans = Plans()

    def add_segments(self, segments: Iterable[Segment]) -> None:
        """Takes the segments of one window, as far as they are known."""
        self._usage.extend(observed_use(segment) for segment in segments)

    def add_record(self, index: int, record: Record) -> None:
        """Takes the record of the entry at log index `index`. Key records do not matter to rating."""
        match record:
            case AllocationEvent():
                self._allocation(record)
            case DeviceEvent():
                self._device(record)
            case DeviceCalendar():
                self._plans.add(record)
            case PriceVersion():
                self._prices.append(_price(index, record))
            case ProgramVersion():
                self._programs.append(_program(index, record))
            case Firm():
                self._firm_names[record.firm_id] = record.name
            case _:
                pass

    def _allocation(self, event: AllocationEvent) -> None:
        held = self._authorisations.get(event.allocation_id)
        if event.event == "granted" and held is None:
            self._authorisations[event.allocation_id] = Authorisation(
                allocation_id=event.allocation_id,
                job_id=event.job_id,
                attempt=event.attempt,
                rank=event.rank,
                firm_id=event.firm_id,
                project=event.project,
                share_ppm_of={share.device_id: share.share_ppm for share in event.devices},
                granted_ms=event.at_ms,
                ended_ms=None,
                time_limit_ms=event.time_limit_ms,
            )
        elif event.event == "ended" and held is not None and held.ended_ms is None:
            ended_ms = max(event.at_ms, held.granted_ms)
            lost = event.reason == NODE_LOST
            self._authorisations[event.allocation_id] = replace(held, ended_ms=ended_ms, lost=lost)

    def _device(self, event: DeviceEvent) -> None:
        device_id = event.device.device_id
        place = self._open_device.get(device_id)
        if event.event == "enrolled" and place is None:
            self._open_device[device_id] = len(self._devices)
            self._devices.append(RegisteredDevice(device_id, event.device.model, event.at_ms, None))
        elif event.event == "retired" and place is not None:
            retired_ms = max(event.at_ms, self._devices[place].enrolled_ms)
            self._devices[place] = replace(self._devices[place], retired_ms=retired_ms)
            del self._open_device[device_id]

    def inputs(self, log_size: int) -> RatingInputs:
        """The inputs of rating, when everything below `log_size` has been taken."""
        return RatingInputs(
            usage=self._usage,
            authorisations=self._authorisations,
            prices=self._prices,
            programs=self._programs,
            firm_names=self._firm_names,
            devices=self._devices,
            log_size=log_size,
            maintenance=self._plans.stretches(MAINTENANCE),
            reserved=self._plans.stretches(RESERVED),
        )


def _price(index: int, version: PriceVersion) -> Price:
    return Price(
        price_id=version.price_id,
        device_model=version.device_model,
        price_nano_cny=version.price_nano_cny,
        from_ms=version.effective_from_ms,
        to_ms=version.effective_to_ms,
        order=index,
    )


def _program(index: int, version: ProgramVersion) -> Program:
    return Program(
        program_id=version.program_id,
        version=version.version,
        rate_ppm=version.rate_ppm,
        usage_measure=version.usage_measure,
        domestic_only=version.domestic_only,
        domestic_models=frozenset(version.domestic_models),
        per_firm_cap_fen=version.per_firm_cap_fen,
        from_ms=version.effective_from_ms,
        to_ms=version.effective_to_ms,
        order=index,
    )
