"""The planner's policy as data: three profiles, and bounds that an operator may set."""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.domain.time import HOUR_MS, MINUTE_MS, SECOND_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """What a profile weighs."""

    # A job's turn is its submission plus this many times its predicted run time: 0 is by age alone, a large
    # number is the shortest rest first. Any finite number lets no job wait for ever.
    stretch: float
    # A waiting job may stop a running one whose turn is later by so many times the cost of stopping it; only
    # jobs that resume are stopped. None: never.
    stop_for_turn: float | None
    # A running job that resumes goes elsewhere when it gains more than so many times the cost. None: never.
    move_for_gain: float | None
    # On the market of several models (market.py) a job weighs 1 / (its rest to this power): 1 ends many soon,
    # 0 does the most work.
    short_first: float = 0.5
    # Who has had many hours and has as many to go weighs less than who has had few, by this power of them. Counted by
    # job: a market is one queue's, so one firm's, where a count by firm would tell nobody apart and one by kind would
    # have jobs pay for their like. Who begins anew under another name to weigh more gives up the age of his submission.
    little_had: float = 0.0
    # A job with many devices is worth more than one with few by this power of their number.
    for_gangs: float = 0.5
    # A job runs where it does if all is to be through as soon as can be, and counts by how much of that time it needs.
    all_soonest: bool = False
    # What is long compared with all there is to do weighs more by this factor: it must not be the last to end.
    long_first: float = 0.0
    # Who would end later than alone on a fair share of every model weighs more, by this power of how much later.
    behind: float = 1.0
    # Who has had nothing for a week comes before all; who needs much of the devices after so many weeks at most.
    patience_of_large: float = 1.0
    # An elastic job that resumes goes on with more devices, where nobody waits for them and it gains more than so
    # many times the cost. None: never.
    grow_for_gain: float | None = 2.0
    # A gang that prefers one domain of the network waits for a place over fewer of them that is expected to come free:
    # for this part of its predicted run time x the part of the domains that it is spared; all in all no longer than it
    # runs, and than so long. 0: never.
    closer_for_run: float = 0.0
    closer_for_ms: int = 0


POLICIES: Mapping[str, Policy] = {
    # Everybody is done in proportion to what he asked for.
    "balanced": Policy(
        6.0,
        stop_for_turn=4.0,
        move_for_gain=3.0,
        short_first=1.0,
        for_gangs=0.25,
        long_first=10.0,
        behind=4.0,
        closer_for_run=0.3,
        closer_for_ms=30 * MINUTE_MS,
    ),
    # The most work of many jobs at any moment, each measured by its own best speed; among equals short rests first.
    # As a gang is one job, it would wait until no long job of few devices is left: who has had little comes before
    # who has had much and goes on for long.
    "throughput": Policy(
        1_000.0,
        stop_for_turn=2.0,
        move_for_gain=2.0,
        short_first=0.1,
        little_had=1.0,
        for_gangs=0.0,
        behind=0.0,
        patience_of_large=4.0,
    ),
    # The most work done with what there is: nobody stops for an earlier turn, or moves for little, long work never
    # comes last.
    "packing": Policy(
        6.0,
        stop_for_turn=None,
        move_for_gain=8.0,
        short_first=0.0,
        for_gangs=0.0,
        all_soonest=True,
        behind=0.0,
        closer_for_run=0.6,
        closer_for_ms=HOUR_MS,
    ),
}


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """A profile's name and the bounds. Raises ValueError for a profile that is not there."""

    profile: str = "balanced"
    # Whether a running job that resumes may be stopped for a gain alone: to go on elsewhere, with more devices, or
    # after others of its queue that gain more where it is. Who does not resume never is.
    moves: bool = True
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
    # A job that takes back lent quota throws away at most this part of its own wait, by the hour of whoever it stops
    # and in device-time of all: so what is lost stays small beside what is waited, and whoever runs long without a
    # model checkpoint may finish.
    lost_for_wait: float = 0.1
    # What a job counts for in the order of which nobody knows anything, not even a time limit.
    unknown_run_ms: int = HOUR_MS
    # Nobody is stopped for another before he has run for so long.
    min_run_ms: int = 5 * MINUTE_MS
    # A stop that nobody needs (a move, a turn) comes within so long after a model checkpoint, or not at all.
    fresh_ms: int = 3 * MINUTE_MS
    # How far ahead the calendar binds jobs of which nobody knows when they end.
    calendar_ahead_ms: int = 24 * HOUR_MS
    # Bounds on the work of one cycle; what is left is planned in the next one.
    max_reservations: int = 256
    max_placements: int = 2_000
    max_stops: int = 256
    max_moves: int = 16

    def __post_init__(self) -> None:
        if self.profile not in POLICIES:
            raise ValueError(f"profile {self.profile!r}: wanted one of {', '.join(POLICIES)}")

    @property
    def policy(self) -> Policy:
        """What the profile weighs."""
        return POLICIES[self.profile]
