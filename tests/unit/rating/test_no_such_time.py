"""A date that no calendar has is said to be one, not to lack its zone."""

import pytest

from suanli.rating.no_such_time import wanted_time
from suanli.sentences.words import said

OTHERWISE = "a time with its zone"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2026-02-30", "a day that there is: 2026-02 has 28 days"),
        ("2028-02-30T00:00:00+08:00", "a day that there is: 2028-02 has 29 days"),
        ("2026-04-00T08:00Z", "a day that there is: 2026-04 has 30 days"),
        ("2026-13-01", "a month from 01 to 12"),
        ("2026-12-31T24:30:00+08:00", "a time of day from 00:00:00 to 23:59:59"),
        ("2026-12-31 08:60", "a time of day from 00:00:00 to 23:59:59"),
        ("2026-12-31T08:00:00", OTHERWISE),
        ("2026-12-31", "a time of day behind the date, and its zone, such as 2026-12-31T08:00:00+08:00"),
        ("0000-01-01", "a year from 1970 to 9998"),
        ("12026-01-01T08:00:00Z", "a year from 1970 to 9998"),
        ("2026-02-300", OTHERWISE),
        ("tomorrow", OTHERWISE),
        ("２０２６-02-30", OTHERWISE),
        ("", OTHERWISE),
        (None, OTHERWISE),
        (5, OTHERWISE),
    ],
)  # fmt: skip
def test_what_has_the_form_of_a_time_and_is_none_is_told_what_is_wrong_with_it(
    text: object, want: str
) -> None:
    assert wanted_time(text, OTHERWISE) == want


def test_a_year_that_is_too_far_is_told_the_last_one() -> None:
    assert wanted_time("9999-12-31", OTHERWISE, 2069) == "a year from 1970 to 2069"
    assert wanted_time("2070-12-31T08:00:00+08:00", OTHERWISE, 2069) == "a year from 1970 to 2069"
    assert wanted_time("2069-12-31T08:00:00", OTHERWISE, 2069) == OTHERWISE


def test_a_chinese_reader_is_told_so_too() -> None:
    sentence = f"--to: got '2026-02-30', want {wanted_time('2026-02-30', OTHERWISE)}"
    assert said(sentence, chinese=True) == "--to：收到 '2026-02-30'，应为存在的日期：2026-02 有 28 天"
