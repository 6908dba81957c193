"""The planner's policy as data."""

from dataclasses import dataclass

from scheduler.domain.time import HOUR_MS, MINUTE_MS, SECOND_MS


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """The default is the profile `balanced`."""

    profile: str = "balanced"
    # A job that has waited so long counts as one priority class higher; no class waits for ever for another.
    ageing_ms: int = 24 * HOUR_MS
    # A blocked job holds devices after this wait, or when time limits promise it a start within this time.
    hold_back_after_ms: int = 10 * MINUTE_MS
    # What is held now counts in a queue's usage as if it ran for so long: many small starts in one second
    # must not look like no usage at all.
    charge_ahead_ms: int = HOUR_MS
    # Between the end of a time limit and devices that are really free: the grace period and the way there.
    stop_margin_ms: int = 60 * SECOND_MS
    # Usage of a model whose speed nobody published, GFLOPS.
    unknown_fp16_gflops: int = 100_000
    # Bounds on the work of one cycle; what is left is planned in the next one.
    max_reservations: int = 256
    max_placements: int = 2_000
