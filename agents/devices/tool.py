"""Vendors' tools, which print text: run with a bound, and what their words mean in our units."""

import subprocess
from collections.abc import Callable, Sequence

from agents.devices.driver import DriverError

TIMEOUT_S = 30.0  # they hang where a device is lost

Ask = Callable[[Sequence[str]], str]
"""Runs one vendor's tool with these arguments; its output. Raises DriverError."""


def tool(name: str) -> Ask:
    """Asks the tool of this name. What it gives raises DriverError where it is not there, fails, or does not end."""

    def ask(arguments: Sequence[str]) -> str:
        asked = " ".join([name, *arguments])
        try:
            done = subprocess.run(
                [name, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise DriverError(f"{name} cannot be run on this host: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise DriverError(f"{asked} did not end within {TIMEOUT_S:.0f} s") from None
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            line = (text.strip() or done.stderr.decode("utf-8", "replace").strip()).partition("\n")[0]
            raise DriverError(f"{asked} failed with {done.returncode}: {line[:200]}")
        return text

    return ask


def told(value: object) -> str | None:
    """A text, or None where it only says that nothing is known."""
    text = value.strip() if isinstance(value, str) else ""
    return None if text.upper() in {"", "NA", "N/A", "-", "UNKNOWN"} else text


def scaled(value: object, by: int, unit: str = "") -> int | None:
    """A number with its unit (`96.66W`) times `by`; None where it is none, or below 0."""
    text = (told(value) or "").removesuffix(unit).strip()
    try:
        number = float(text)
        return round(number * by) if number >= 0 else None
    except (ValueError, OverflowError):
        return None
