"""What is wrong with a text that has the form of a date or a time and is none: no calendar has a 30 February."""

import re
from calendar import monthrange

FIRST_YEAR, LAST_YEAR = 1970, 9998
_DATE = re.compile(r"(\d{4,9})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?.*)?", re.DOTALL | re.ASCII)


def wanted_time(text: object, otherwise: str, last_year: int = LAST_YEAR) -> str:
    """What would be right in the place of `text`, which could not be read or is beyond `last_year`: `otherwise`, where
    it does not even have the form of a date.
    """
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return otherwise
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if not FIRST_YEAR <= year <= last_year:
        return f"a year from {FIRST_YEAR} to {last_year}"
    if not 1 <= month <= 12:
        return "a month from 01 to 12"
    days = monthrange(year, month)[1]
    if not 1 <= day <= days:
        return f"a day that there is: {match[1]}-{match[2]} has {days} days"
    if hour > 23 or minute > 59 or second > 59:
        return "a time of day from 00:00:00 to 23:59:59"
    if match[4] is None:
        return f"a time of day behind the date, and its zone, such as {match[0]}T08:00:00+08:00"
    return otherwise
