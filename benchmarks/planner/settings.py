"""What a run of the cases is given, and the engine that every case calls."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from scheduler.planner import PlannerConfig

BALANCED = "balanced"


@dataclass(frozen=True)
class Settings:
    """The traces, and how much of each case is run."""

    traces: Path
    console: Console = field(default_factory=lambda: Console(stderr=True))
    part: float = 1.0  # of each case's work: below 1 for development, and said so in every row

    def some(self, number: int, least: int = 1) -> int:
        """That part of a number of seeds, steps or jobs."""
        return max(least, round(number * self.part))

    def case(self, name: str) -> str:
        """The case's name in a row: a part of a case is not the case."""
        return name if self.part >= 1 else f"{name} (part {self.part:g})"


def profiles(best: str) -> tuple[str, ...]:
    """The profile made for a case, and the default one."""
    return (best,) if best == BALANCED else (best, BALANCED)


def config(profile: str, **changes: Any) -> PlannerConfig:
    """A named profile of the shipped planner."""
    return PlannerConfig(profile=profile, **changes)
