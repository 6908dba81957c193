"""The one error that no restart mends."""


class Halted(Exception):
    """Log and database disagree. Whoever goes on could sign a second tree; a person has to look first."""
