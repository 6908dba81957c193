"""Signature algorithms that other installed packages give: entry points of the group `suanli.note_algorithms`."""

from __future__ import annotations

from importlib.metadata import entry_points

from suanli.cli.errors import MISUSED, CliError
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import register_algorithm

GROUP = "suanli.note_algorithms"


def load_algorithms() -> None:
    """Makes them known. Raises CliError naming the package that gives none."""
    for point in entry_points(group=GROUP):
        try:
            register_algorithm(point.load())
        except (ImportError, AttributeError, EvidenceError) as error:
            package = "?" if point.dist is None else point.dist.name
            raise CliError(
                f"the algorithm {point.name} of the package {package} cannot be used: {error}", MISUSED
            ) from None
