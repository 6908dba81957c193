"""`python -m agents`: the same as `suanli-agent`."""

import sys

from agents.app import main

sys.exit(main())
