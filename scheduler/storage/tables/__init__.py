"""Every table of the installation, one class a table, a file for each topic.

Who may write what is said above each file and enforced by database roles (`roles.py`): the API and the
gateway insert facts, the controller alone moves states, the ledger alone writes the log and money.
Times are `timestamptz` for people's queries where nothing is computed from them, and integer
milliseconds of UTC (`*_ms`) wherever something is.
"""

from scheduler.storage.tables.base import Base
from scheduler.storage.tables.configured import (
    BudgetRow,
    CalendarRow,
    CohortRow,
    PoolRow,
    PriceVersionRow,
    ProgramVersionRow,
    QueueRow,
)
from scheduler.storage.tables.content import ContentObjectRow, ResultRow, SecretRow, UploadRow
from scheduler.storage.tables.evidence import (
    ChargeRow,
    CosignatureRow,
    EvidenceIntakeRow,
    FirmKeyRow,
    LogCheckpointRow,
    LogEntryRow,
    ReceiptRow,
    UsageIntakeRow,
    WindowSegmentRow,
)
from scheduler.storage.tables.jobs import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    JobRevisionRow,
    JobRow,
    JobStateRow,
)
from scheduler.storage.tables.messages import (
    EventRow,
    ExperienceRow,
    InboxRow,
    LeaderRow,
    NotificationRow,
    ReportRow,
)
from scheduler.storage.tables.nodes import (
    AgentKeyRow,
    DeviceRow,
    GatewayRow,
    JoinTokenRow,
    NodePlaceRow,
    NodeRow,
    NodeStateRow,
)
from scheduler.storage.tables.people import ApiKeyRow, FirmRow, IdempotencyRow, PrincipalRow, ProjectRow

__all__ = [
    "AgentKeyRow",
    "AllocationDeviceRow",
    "AllocationRow",
    "ApiKeyRow",
    "AttemptRow",
    "Base",
    "BudgetRow",
    "CalendarRow",
    "ChargeRow",
    "CohortRow",
    "ContentObjectRow",
    "CosignatureRow",
    "DeviceRow",
    "EventRow",
    "EvidenceIntakeRow",
    "ExperienceRow",
    "FirmKeyRow",
    "FirmRow",
    "GatewayRow",
    "IdempotencyRow",
    "InboxRow",
    "JobRevisionRow",
    "JobRow",
    "JobStateRow",
    "JoinTokenRow",
    "LeaderRow",
    "LogCheckpointRow",
    "LogEntryRow",
    "NodePlaceRow",
    "NodeRow",
    "NodeStateRow",
    "NotificationRow",
    "PoolRow",
    "PriceVersionRow",
    "PrincipalRow",
    "ProgramVersionRow",
    "ProjectRow",
    "QueueRow",
    "ReceiptRow",
    "ReportRow",
    "ResultRow",
    "SecretRow",
    "UploadRow",
    "UsageIntakeRow",
    "WindowSegmentRow",
]
