"""Parts of an amount that was measured over more than one stretch."""


def share(amount: int, part_start: int, part_end: int, whole: int) -> int:
    """The part [part_start, part_end) of an amount spread evenly over [0, whole); parts sum to the amount."""
    return amount * part_end // whole - amount * part_start // whole
