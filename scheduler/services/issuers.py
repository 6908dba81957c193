"""The operator's file of OpenID Connect issuers (SUANLI_OIDC_FILE)."""

from pathlib import Path

import yaml

from scheduler.domain.errors import Invalid
from scheduler.domain.issuers import Issuer, issuers_from

MOST_FILE_BYTES = 1 << 20


def load_issuers(path: Path) -> tuple[Issuer, ...]:
    """Read the operator's file. Raises ValueError with every problem of it."""
    try:
        data = path.read_bytes()
        if len(data) > MOST_FILE_BYTES:
            raise ValueError(f"{path} is larger than {MOST_FILE_BYTES} bytes")
        value = yaml.safe_load(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    try:
        return issuers_from(value)
    except Invalid as error:
        sentences = "; ".join(f"{p.field}: got {p.got}, want {p.want}" for p in error.problems)
        raise ValueError(f"{path}: {sentences}") from error
