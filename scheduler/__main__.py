"""`python -m scheduler`, the same as the command `scheduler`."""

import gc
import sys

gc.disable()  # what is loaded here stays: the collector would walk it again and again, and find nothing
# Structlog loads rich where there is one, for tracebacks in colours: a tenth of the start, and nobody looks at them.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402, F401

del sys.modules["rich"]
from scheduler.app import main  # noqa: E402

gc.freeze()  # or it would walk all of it now, in one go
gc.enable()

if __name__ == "__main__":
    main()
