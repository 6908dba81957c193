"""Where the command begins: Ctrl-C ends it without a traceback, also while its parts are still being loaded."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # as a shell says of a program that SIGINT ended


def main() -> None:
    """Run the command line."""
    try:
        from suanli.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
