"""What is suggested where a name is not known."""

from scheduler.domain.suggestions import perhaps


def test_near_names_are_suggested() -> None:
    assert perhaps("linn", ["lin", "wang"], "a person") == "a person, perhaps lin"


def test_long_names_are_compared_with_nobody() -> None:
    long = "ab" * 20
    assert perhaps(long, [f"{long[1:]}c"], "a person") == f"a person, perhaps {long[1:]}c"
    assert perhaps(f"{long}c", [long], "a person") == "a person"
    assert perhaps(long, [f"{long}c"], "a person") == "a person"
