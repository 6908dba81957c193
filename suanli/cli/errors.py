"""What ends a command with a sentence."""

from __future__ import annotations

FAILED = 1
"""It failed: the server refused or was not reached, or what was checked is wrong."""
MISUSED = 2
"""It was typed wrongly, or a file or a setting that it names cannot be used, whoever noticed: this program or the
server.
"""


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
