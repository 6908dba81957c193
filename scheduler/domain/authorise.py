"""Who may do what: one table of actions and roles, and the one question about it.

A firm's people never learn whether another firm's thing exists: for them it is NotFound, not Forbidden.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from scheduler.domain.errors import Forbidden, NotFound
from scheduler.domain.principals import FIRM_ROLES, Role, Scope

_EVERYONE = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `firm_id` is None exactly for operators and auditors."""

    principal_id: str
    name: str
    kind: str  # user | service
    role: Role
    firm_id: str | None
    scope: Scope = Scope.ADMINISTRATION  # of the key that was used
    projects: tuple[str, ...] | None = None  # whose jobs it may submit, change and enter; None: the firm's


class Action(StrEnum):
    """What can be done; every route of the API names one."""

    WHO_AM_I = "who_am_i"
    SUBMIT_JOB = "submit_job"
    READ_JOBS = "read_jobs"
    READ_JOB_LOGS = "read_job_logs"
    CANCEL_JOB = "cancel_job"
    CHANGE_JOB = "change_job"
    FORWARD_PORT = "forward_port"
    ATTACH = "attach"
    UPLOAD = "upload"
    READ_RESULTS = "read_results"
    READ_SECRETS = "read_secrets"
    MANAGE_SECRETS = "manage_secrets"
    READ_NOTIFICATIONS = "read_notifications"
    READ_EVENTS = "read_events"
    READ_NODES = "read_nodes"
    CORDON_NODE = "cordon_node"
    READ_CATALOGUE = "read_catalogue"
    READ_USAGE = "read_usage"
    READ_BALANCE = "read_balance"
    DOWNLOAD_BUNDLE = "download_bundle"
    REQUEST_PROOFS = "request_proofs"
    REQUEST_SAMPLES = "request_samples"
    CLOSE_PERIOD = "close_period"
    CONFIGURE = "configure"
    SET_BUDGET = "set_budget"
    SET_FIRM_BUDGET = "set_firm_budget"
    CREATE_JOIN_TOKEN = "create_join_token"  # noqa: S105 - the name of an action
    MANAGE_PRINCIPALS = "manage_principals"
    MANAGE_OWN_KEYS = "manage_own_keys"
    READ_METRICS = "read_metrics"
    MANAGE_FIRM_KEYS = "manage_firm_keys"
    SIGN_RECEIPT = "sign_receipt"
    READ_RECEIPTS = "read_receipts"


ALLOWED: dict[Action, frozenset[Role]] = {
    Action.WHO_AM_I: _EVERYONE,
    Action.SUBMIT_JOB: FIRM_ROLES,
    Action.READ_JOBS: FIRM_ROLES | {Role.OPERATOR},
    # What a job prints is the firm's: the operator's own API does not hand it out.
    Action.READ_JOB_LOGS: FIRM_ROLES,
    Action.CANCEL_JOB: FIRM_ROLES | {Role.OPERATOR},
    Action.CHANGE_JOB: FIRM_ROLES | {Role.OPERATOR},
    # Into a job goes its firm alone.
    Action.FORWARD_PORT: FIRM_ROLES,
    Action.ATTACH: FIRM_ROLES,
    # What a firm sends along and gets back is its own: no operator reads it here.
    Action.UPLOAD: FIRM_ROLES,
    Action.READ_RESULTS: FIRM_ROLES,
    Action.READ_SECRETS: FIRM_ROLES,
    Action.MANAGE_SECRETS: FIRM_ROLES,
    Action.READ_NOTIFICATIONS: FIRM_ROLES | {Role.OPERATOR},
    Action.READ_EVENTS: FIRM_ROLES | {Role.OPERATOR},
    Action.READ_NODES: _EVERYONE,
    Action.CORDON_NODE: frozenset({Role.OPERATOR}),
    Action.READ_CATALOGUE: _EVERYONE,
    Action.READ_USAGE: _EVERYONE,
    Action.READ_BALANCE: frozenset({Role.OPERATOR, Role.AUDITOR}),
    Action.DOWNLOAD_BUNDLE: frozenset({Role.FIRM_ADMINISTRATOR, Role.OPERATOR, Role.AUDITOR}),
    Action.REQUEST_PROOFS: frozenset({Role.FIRM_ADMINISTRATOR, Role.OPERATOR, Role.AUDITOR}),
    # A device's own counters tell of all who used it.
    Action.REQUEST_SAMPLES: frozenset({Role.OPERATOR, Role.AUDITOR}),
    Action.CLOSE_PERIOD: frozenset({Role.OPERATOR}),
    Action.CONFIGURE: frozenset({Role.OPERATOR}),
    # Of a project; what a firm may spend with all of its projects is configured.
    Action.SET_BUDGET: frozenset({Role.FIRM_ADMINISTRATOR, Role.OPERATOR}),
    Action.SET_FIRM_BUDGET: frozenset({Role.OPERATOR}),
    Action.CREATE_JOIN_TOKEN: frozenset({Role.OPERATOR}),
    Action.MANAGE_PRINCIPALS: frozenset({Role.FIRM_ADMINISTRATOR, Role.OPERATOR}),
    Action.MANAGE_OWN_KEYS: _EVERYONE,
    Action.READ_METRICS: frozenset({Role.OPERATOR}),
    # Who signs for a firm is the firm's to say: no operator registers a key for it.
    Action.MANAGE_FIRM_KEYS: frozenset({Role.FIRM_ADMINISTRATOR}),
    Action.SIGN_RECEIPT: FIRM_ROLES,
    Action.READ_RECEIPTS: _EVERYONE,
}


# What a refusal calls them where the name alone would be no English.
_IN_WORDS = {
    Action.WHO_AM_I: "see who they are",
    Action.SUBMIT_JOB: "submit jobs",
    Action.CANCEL_JOB: "cancel jobs",
    Action.CHANGE_JOB: "change jobs",
    Action.FORWARD_PORT: "forward ports",
    Action.ATTACH: "attach to jobs",
    Action.UPLOAD: "upload files",
    Action.CORDON_NODE: "cordon nodes",
    Action.READ_CATALOGUE: "read the catalogue",
    Action.READ_BALANCE: "read the balance of device time",
    Action.DOWNLOAD_BUNDLE: "download bundles",
    Action.CLOSE_PERIOD: "close periods",
    Action.CONFIGURE: "configure the installation",
    Action.SET_BUDGET: "set budgets of projects",
    Action.SET_FIRM_BUDGET: "set budgets of firms",
    Action.CREATE_JOIN_TOKEN: "create join tokens",
    Action.SIGN_RECEIPT: "sign receipts",
}


def in_words(action: Action) -> str:
    """What one does, as a verb: `read the balance of device time`."""
    return _IN_WORDS.get(action, action.replace("_", " "))


_READING = frozenset(a for a in Action if a.startswith("read_")) | {
    Action.WHO_AM_I,
    Action.DOWNLOAD_BUNDLE,
    Action.REQUEST_PROOFS,
    Action.REQUEST_SAMPLES,
}
_JOBS = frozenset(
    {
        Action.SUBMIT_JOB,
        Action.CANCEL_JOB,
        Action.CHANGE_JOB,
        Action.UPLOAD,
        Action.FORWARD_PORT,
        Action.ATTACH,
        Action.SIGN_RECEIPT,
    }
)


def scope_of(action: Action) -> Scope:
    """The narrowest scope whose keys may do this: the widest, unless it is named above."""
    if action in _READING:
        return Scope.READ
    return Scope.JOBS if action in _JOBS else Scope.ADMINISTRATION


def allows(principal: Principal, action: Action) -> bool:
    """Whether the role may do this at all, with the key that was used."""
    return _allows(principal.role, principal.scope, action)


@cache
def _allows(role: Role, scope: Scope, action: Action) -> bool:
    order = list(Scope)
    return role in ALLOWED[action] and order.index(scope) >= order.index(scope_of(action))


def authorise(principal: Principal, action: Action) -> None:
    """Raise Forbidden unless the role may do this."""
    if allows(principal, action):
        return
    if principal.role in ALLOWED[action]:
        raise Forbidden(
            f"this API key is for {principal.scope}; to {in_words(action)} takes one for {scope_of(action)}",
            {"action": action.value, "scope": principal.scope.value},
        )
    roles = ", ".join(sorted(_noun(role) for role in ALLOWED[action]))
    own = action is Action.SET_FIRM_BUDGET and allows(principal, Action.SET_BUDGET)
    instead = "; you may set the budgets of the firm's projects" if own else ""
    raise Forbidden(
        f"{principal.name} is {_article(principal.role)} and may not {in_words(action)}; these may: {roles}{instead}",
        {"action": action.value, "role": principal.role.value},
    )


def require_firm(principal: Principal) -> str:
    """The firm that a principal belongs to. Raises Forbidden for those who belong to none."""
    if principal.firm_id is None:
        raise Forbidden(f"{principal.name} belongs to no firm and cannot act for one")
    return principal.firm_id


def require_project(principal: Principal, project: str) -> None:
    """Raise Forbidden unless the principal may act in this project of the own firm."""
    if principal.projects is not None and project not in principal.projects:
        raise Forbidden(
            f"{principal.name} may act in the projects {', '.join(principal.projects)}, not in {project}",
            {"project": project, "projects": list(principal.projects)},
        )


def require_project_or_whole_firm(principal: Principal, project: str | None) -> None:
    """Raise Forbidden unless the principal may act in this project; None is the whole firm."""
    if project is not None:
        require_project(principal, project)
    elif principal.projects is not None:
        raise Forbidden(
            f"{principal.name} may act in the projects {', '.join(principal.projects)}, not for the whole firm",
            {"projects": list(principal.projects)},
        )


def may_see_firm(principal: Principal, firm_id: str) -> bool:
    """Whether what belongs to this firm exists for the principal."""
    return principal.firm_id is None or principal.firm_id == firm_id


def require_visible(principal: Principal, firm_id: str | None, what: str) -> None:
    """Raise NotFound unless the thing exists (its firm is known) and the principal may know it."""
    if firm_id is None or not may_see_firm(principal, firm_id):
        raise NotFound(f"there is no {what}")


def _noun(role: Role) -> str:
    return role.value.replace("_", " ")


def _article(role: Role) -> str:
    noun = _noun(role)
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
