"""What ends a command with a sentence."""

from __future__ import annotations

FAILED = 1
MISUSED = 2


class CliError(Exception):
    """The sentence says what is wrong and what would be right."""

    def __init__(self, sentence: str, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def reason_of(error: Exception) -> str:
    """The sentence of an error; of the system's, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
