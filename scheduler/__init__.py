"""The control plane of Suanli: api, gateway, controller, ledger. README.md beside this file is its plan."""

import os

# Pydantic would look through every installed distribution for plugins of its own: a tenth of a second a process.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
