"""The people of the demo: each calls with a key of their own, so each sees only what is theirs."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from suanli.client import Client


@dataclass(frozen=True)
class People:
    """Clients of the operator, of a researcher and an administrator of each firm, and of the auditor."""

    operator: Client
    researchers: dict[str, Client]  # firm -> client
    administrators: dict[str, Client]  # firm -> client
    auditor: Client
    auditor_key: str

    def close(self) -> None:
        """Close everybody's connections."""
        for client in (
            self.operator,
            *self.researchers.values(),
            *self.administrators.values(),
            self.auditor,
        ):
            client.close()


def configure(operator: Client, site: Path) -> None:
    """Apply the site file, as `suanli apply -f` does."""
    operator.apply(yaml.safe_load(site.read_text(encoding="utf-8")))


def make_keys(operator: Client, site: Path) -> People:
    """Make an API key for each user of the site file."""
    users = yaml.safe_load(site.read_text(encoding="utf-8"))["users"]
    secrets = {user["name"]: operator.create_api_key(user["name"])["api_key"] for user in users}

    def client(role: str) -> dict[str, Client]:
        return {
            user["firm"]: Client(operator.server, secrets[user["name"]])
            for user in users
            if user["role"] == role
        }

    auditor_key = next(secrets[user["name"]] for user in users if user["role"] == "auditor")
    return People(
        operator=operator,
        researchers=client("researcher"),
        administrators=client("firm_administrator"),
        auditor=Client(operator.server, auditor_key),
        auditor_key=auditor_key,
    )
