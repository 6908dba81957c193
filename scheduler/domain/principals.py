"""What somebody who calls may be: a role, and what the key that is used is good for."""

from enum import StrEnum


class Role(StrEnum):
    """What a principal is to the installation."""

    RESEARCHER = "researcher"
    FIRM_ADMINISTRATOR = "firm_administrator"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Scope(StrEnum):
    """What an API key is good for, within what its principal's role may do."""

    READ = "read"  # look at everything that the role may see
    JOBS = "jobs"  # and submit, change and cancel jobs
    ADMINISTRATION = "administration"  # and everything else: what a key without scopes may


FIRM_ROLES = frozenset({Role.RESEARCHER, Role.FIRM_ADMINISTRATOR})

PRINCIPAL_NAME = r"[a-z0-9]([a-z0-9._@-]{0,98}[a-z0-9])?"
PRINCIPAL_NAME_WANTED = "1 to 100 of a-z 0-9 - . _ @, no sign at the ends"
