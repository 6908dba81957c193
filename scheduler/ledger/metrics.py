"""What the ledger measures."""

from prometheus_client import Counter, Gauge

LEADING = Gauge("suanli_ledger_leading", "1 while this process leads the ledger.")
HALTED = Gauge(
    "suanli_ledger_halted", "1 when the ledger stopped because log and database disagree: see its log."
)
RESTORED = Counter(
    "suanli_ledger_restored_entries_total",
    "Entries that the database had lost and that were read back from the published tiles.",
)
LOG_SIZE = Gauge("suanli_ledger_log_size", "Entries in the published log.")
CHECKPOINT_TIME = Gauge(
    "suanli_ledger_checkpoint_timestamp_seconds",
    "When the newest log checkpoint was published.",
)
SEQUENCED = Counter("suanli_ledger_sequenced_total", "Entries given a log index, by type.", ["type"])
INTAKE_LAG = Gauge(
    "suanli_ledger_intake_lag_seconds", "Age of the oldest fact or window that waits for its log index."
)
INTAKE_REFUSED = Gauge(
    "suanli_ledger_intake_refused", "Facts in the intake that cannot be logged: malformed or falsely signed."
)
COSIGN_LAG = Gauge(
    "suanli_ledger_cosign_lag_entries", "Entries beyond the newest tree that a witness cosigned.", ["witness"]
)
COSIGN_FAILURES = Counter("suanli_ledger_cosign_failures_total", "Failed requests to a witness.", ["witness"])
STAMP_TIME = Gauge(
    "suanli_ledger_stamp_timestamp_seconds",
    "Time of the newest time stamp of the log; 0 without one, also where no authority is named.",
)
STAMP_FAILURES = Counter(
    "suanli_ledger_stamp_failures_total", "Requests to the time-stamping authority that gave no stamp."
)
CHARGES = Counter("suanli_ledger_charges_total", "Charges made, by kind.", ["kind"])
UNRATED = Gauge("suanli_ledger_unrated_segments", "Logged segments that wait for their rating.")
MISSING_ROWS = Gauge(
    "suanli_ledger_rating_missing_rows",
    "Rows that the log names and the database has not; what refers to them is not charged: see the log.",
    ["table"],
)
UNPRICED_MS = Counter(
    "suanli_ledger_unpriced_device_ms_total",
    "Billable device time without a price in force.",
    ["model"],
)
UNATTRIBUTED_MS = Counter(
    "suanli_ledger_unattributed_device_ms_total",
    "Device time in use without authority, as the verifier counts it an error; never billed.",
)
AFTER_LOSS_MS = Counter(
    "suanli_ledger_after_loss_device_ms_total",
    "Device time in use on nodes that had been given up as lost; never billed.",
)
FOREIGN_SEGMENTS = Counter(
    "suanli_ledger_foreign_segments_total",
    "Logged segments that name an allocation which never had the device: kept for auditors, shown to no firm.",
)
DOUBLE_MS = Counter(
    "suanli_ledger_double_attributed_device_ms_total", "Device time given to two allocations at once."
)
