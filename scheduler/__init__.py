"""The control plane of Suanli: api, gateway, controller, ledger. README.md beside this file is its plan."""
