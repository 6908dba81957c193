"""Between which moments a waiting job is told that it starts, read when some of them may have passed."""

# With 80 % not before the first nor after the last, ms; as likely before the second as after.
Told = tuple[int, int, int]


def still_to_come(told: Told, now_ms: int) -> Told | None:
    """What is left of an interval for a job that has not started by now; None: it has passed, and nobody knows.

    Where the most likely moment has passed it is taken from the middle of the rest: never now, when it just waits on.
    """
    low_ms, expected_ms, high_ms = told
    if high_ms <= now_ms:
        return None
    if expected_ms <= now_ms:
        expected_ms = now_ms + (high_ms - now_ms + 1) // 2
    return max(low_ms, now_ms), expected_ms, high_ms
