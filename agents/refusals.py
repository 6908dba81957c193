"""Why an agent cannot go on: one clear sentence and an exit code each."""


class AgentError(Exception):
    """Ends the agent with `exit_code`; the text is one sentence for the operator."""

    exit_code = 1


class UsageError(AgentError):
    """A setting is wrong or missing."""

    exit_code = 2


class EnrolmentRefused(AgentError):
    """The gateway will not have this host: token wrong, expired or used up, name taken."""

    exit_code = 3


class StateLocked(AgentError):
    """Another agent runs on this state folder."""

    exit_code = 4


class AddressTaken(AgentError):
    """The metrics address cannot be listened on."""

    exit_code = 5


class StateUnusable(AgentError):
    """The state folder cannot be read or written, and going on would lose evidence."""

    exit_code = 6


class NoDevices(AgentError):
    """There is no device that this agent can drive."""

    exit_code = 7


class SpoolFull(Exception):
    """The spool could not be written (disk full, ...); nothing was changed. The agent goes on and retries."""
