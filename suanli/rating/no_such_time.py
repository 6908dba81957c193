"""What is wrong with a text that has the form of a date or a time and is none: no calendar has a 30 February."""

import re
from calendar import monthrange
from datetime import MINYEAR

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?.*)?", re.DOTALL | re.ASCII)


def wanted_time(text: object, otherwise: str) -> str:
    """What would be right in the place of `text`, which could not be read: `otherwise`, where it does not even have the
    form of a date.
    """
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) < MINYEAR:
        return otherwise
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if not 1 <= month <= 12:
        return "a month from 01 to 12"
    days = monthrange(year, month)[1]
    if not 1 <= day <= days:
        return f"a day that there is: {match[1]}-{match[2]} has {days} days"
    if hour > 23 or minute > 59 or second > 59:
        return "a time of day from 00:00:00 to 23:59:59"
    return otherwise
