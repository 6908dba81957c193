"""The first schema."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("event_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("event_seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_firm", "events", ["firm_id", "event_seq"], unique=False)
    op.create_index("ix_events_job", "events", ["job_id", "event_seq"], unique=False)
    op.create_table(
        "evidence_intake",
        sa.Column("intake_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("producer_key_id", sa.Text(), nullable=True),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("intake_id", name=op.f("pk_evidence_intake")),
        sa.UniqueConstraint("fact", name=op.f("uq_evidence_intake_fact")),
    )
    op.create_table(
        "firms",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("firm_id", name=op.f("pk_firms")),
        sa.UniqueConstraint("name", name=op.f("uq_firms_name")),
    )
    op.create_table(
        "gateways",
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column(
            "seen_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("enrolment_address", sa.Text(), nullable=False),
        sa.Column("fleet_address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", name=op.f("pk_gateways")),
    )
    op.create_table(
        "inbox",
        sa.Column("inbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
    )
    op.create_table(
        "leaders",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column(
            "since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_leaders")),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_log_checkpoints")),
    )
    op.create_table(
        "log_entries",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("producer_key_id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column("firm_seq", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("start_ms", sa.BigInteger(), nullable=True),
        sa.Column("end_ms", sa.BigInteger(), nullable=True),
        sa.Column(
            "sequenced_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_log_entries")),
        sa.UniqueConstraint("fact", name=op.f("uq_log_entries_fact")),
        sa.UniqueConstraint("firm_id", "firm_seq", name=op.f("uq_log_entries_firm_id_firm_seq")),
    )
    op.create_index("ix_log_entries_node", "log_entries", ["node_id", "end_ms"], unique=False)
    op.create_index("ix_log_entries_type", "log_entries", ["type", "log_index"], unique=False)
    op.create_table(
        "pools",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), server_default="agents", nullable=False),
        sa.Column("patience_ms", sa.BigInteger(), server_default="60000", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
    )
    op.create_table(
        "price_versions",
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("device_model", sa.Text(), nullable=False),
        sa.Column("price_nano_cny", sa.BigInteger(), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("effective_to_ms", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("price_id", name=op.f("pk_price_versions")),
        sa.UniqueConstraint(
            "device_model", "effective_from_ms", name=op.f("uq_price_versions_device_model_effective_from_ms")
        ),
    )
    op.create_table(
        "program_versions",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("effective_to_ms", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("program_id", "version", name=op.f("pk_program_versions")),
    )
    op.create_table(
        "reports",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("counterfactual", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("firm_id", "job_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "charges",
        sa.Column("charge_id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("device_model", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("corrects", sa.Text(), nullable=True),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("billable_ms", sa.BigInteger(), nullable=False),
        sa.Column("live_ms", sa.BigInteger(), nullable=False),
        sa.Column("worked_ms", sa.BigInteger(), nullable=False),
        sa.Column("share_ppm", sa.BigInteger(), nullable=False),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.Column("amount_fen_numerator", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("amount_fen_denominator", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.ForeignKeyConstraint(["corrects"], ["charges.charge_id"], name=op.f("fk_charges_charges")),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_charges_firms")),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_charges_log_entries")
        ),
        sa.ForeignKeyConstraint(
            ["price_id"], ["price_versions.price_id"], name=op.f("fk_charges_price_versions")
        ),
        sa.PrimaryKeyConstraint("charge_id", name=op.f("pk_charges")),
    )
    op.create_index("ix_charges_allocation_id", "charges", ["allocation_id"], unique=False)
    op.create_index("ix_charges_firm", "charges", ["firm_id", "job_id"], unique=False)
    op.create_index("ix_charges_segment", "charges", ["log_index", "n"], unique=False)
    op.create_table(
        "cosignatures",
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["size"], ["log_checkpoints.size"], name=op.f("fk_cosignatures_log_checkpoints")
        ),
        sa.PrimaryKeyConstraint("size", "witness", name=op.f("pk_cosignatures")),
    )
    op.create_table(
        "join_tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pool"], ["pools.name"], name=op.f("fk_join_tokens_pools")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_join_tokens")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_join_tokens_secret_sha256")),
    )
    op.create_table(
        "nodes",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("metering_from_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "enrolled_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["pool"], ["pools.name"], name=op.f("fk_nodes_pools")),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    op.create_table(
        "principals",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("disabled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(role IN ('researcher','firm_administrator')) = (firm_id IS NOT NULL)",
            name=op.f("ck_principals_role_firm"),
        ),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_principals_firms")),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_principals")),
        sa.UniqueConstraint("name", name=op.f("uq_principals_name")),
    )
    op.create_table(
        "projects",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_projects_firms")),
        sa.PrimaryKeyConstraint("firm_id", "name", name=op.f("pk_projects")),
    )
    op.create_table(
        "queues",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pools", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("nominal", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("weight", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_queues_firms")),
        sa.PrimaryKeyConstraint("firm_id", "name", name=op.f("pk_queues")),
    )
    op.create_table(
        "window_segments",
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=True),
        sa.Column("allocation_id", sa.Text(), nullable=True),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entries.log_index"], name=op.f("fk_window_segments_log_entries")
        ),
        sa.PrimaryKeyConstraint("log_index", "n", name=op.f("pk_window_segments")),
    )
    op.create_index(op.f("ix_window_segments_firm_id"), "window_segments", ["firm_id"], unique=False)
    op.create_table(
        "agent_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("certificate_pem", sa.LargeBinary(), nullable=False),
        sa.Column("stored_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stored_header_sha256", sa.Text(), server_default="0" * 64, nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_agent_keys_nodes")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_agent_keys")),
    )
    op.create_index(op.f("ix_agent_keys_node_id"), "agent_keys", ["node_id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_api_keys_principals")
        ),
        sa.PrimaryKeyConstraint("api_key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_index(op.f("ix_api_keys_principal_id"), "api_keys", ["principal_id"], unique=False)
    op.create_table(
        "devices",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("fast_link_group", sa.Integer(), nullable=False),
        sa.Column("claims", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_devices_nodes")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_devices")),
        sa.UniqueConstraint("node_id", "index", name=op.f("uq_devices_node_id_index")),
    )
    op.create_index(op.f("ix_devices_node_id"), "devices", ["node_id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.principal_id"], name=op.f("fk_idempotency_keys_principals")
        ),
        sa.PrimaryKeyConstraint("principal_id", "idempotency_key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "jobs",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("submitted_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["firm_id", "project"], ["projects.firm_id", "projects.name"], name=op.f("fk_jobs_projects")
        ),
        sa.ForeignKeyConstraint(
            ["firm_id", "queue"], ["queues.firm_id", "queues.name"], name=op.f("fk_jobs_queues")
        ),
        sa.ForeignKeyConstraint(["firm_id"], ["firms.firm_id"], name=op.f("fk_jobs_firms")),
        sa.ForeignKeyConstraint(
            ["submitted_by"], ["principals.principal_id"], name=op.f("fk_jobs_principals")
        ),
        sa.PrimaryKeyConstraint("firm_id", "job_id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("job_id", name=op.f("uq_jobs_job_id")),
    )
    op.create_index("ix_jobs_firm_id_submitted", "jobs", ["firm_id", "submitted_ms", "job_id"], unique=False)
    op.create_table(
        "node_states",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cordoned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("leader_term", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("isolation", sa.Text(), nullable=True),
        sa.Column("rendezvous_address", sa.Text(), nullable=True),
        sa.Column("report_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=True),
        sa.Column("unhealthy", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("silent_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_node_states_nodes")),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_node_states")),
    )
    op.create_table(
        "attempts",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Integer(), nullable=False),
        sa.Column("device_model", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("why_here", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("master_address", sa.Text(), nullable=True),
        sa.Column("master_port", sa.Integer(), nullable=True),
        sa.Column("allocated_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"], name=op.f("fk_attempts_jobs")
        ),
        sa.PrimaryKeyConstraint("firm_id", "job_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "job_states",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("device_model", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("step_report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id"], ["jobs.firm_id", "jobs.job_id"], name=op.f("fk_job_states_jobs")
        ),
        sa.PrimaryKeyConstraint("firm_id", "job_id", name=op.f("pk_job_states")),
    )
    op.create_index(
        "ix_job_states_live",
        "job_states",
        ["state"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('succeeded','failed','cancelled')"),
    )
    op.create_table(
        "usage_intake",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("segments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["key_id"], ["agent_keys.key_id"], name=op.f("fk_usage_intake_agent_keys")),
        sa.PrimaryKeyConstraint("key_id", "seq", name=op.f("pk_usage_intake")),
    )
    op.create_table(
        "allocations",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("rendezvous_port", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("granted_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["firm_id", "job_id", "attempt"],
            ["attempts.firm_id", "attempts.job_id", "attempts.attempt"],
            name=op.f("fk_allocations_attempts"),
        ),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_allocations_nodes")),
        sa.PrimaryKeyConstraint("firm_id", "allocation_id", name=op.f("pk_allocations")),
        sa.UniqueConstraint("allocation_id", name=op.f("uq_allocations_allocation_id")),
    )
    op.create_index("ix_allocations_job", "allocations", ["firm_id", "job_id", "attempt"], unique=False)
    op.create_index(
        "ix_allocations_node_live", "allocations", ["node_id"], unique=False, postgresql_where=sa.text("live")
    )
    op.create_table(
        "allocation_devices",
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("allocation_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("share_ppm", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.device_id"], name=op.f("fk_allocation_devices_devices")
        ),
        sa.ForeignKeyConstraint(
            ["firm_id", "allocation_id"],
            ["allocations.firm_id", "allocations.allocation_id"],
            name=op.f("fk_allocation_devices_allocations"),
        ),
        sa.PrimaryKeyConstraint("firm_id", "allocation_id", "device_id", name=op.f("pk_allocation_devices")),
    )
    op.create_index(
        "uq_allocation_devices_live",
        "allocation_devices",
        ["device_id"],
        unique=True,
        postgresql_where=sa.text("live"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_allocation_devices_live", table_name="allocation_devices", postgresql_where=sa.text("live")
    )
    op.drop_table("allocation_devices")
    op.drop_index("ix_allocations_node_live", table_name="allocations", postgresql_where=sa.text("live"))
    op.drop_index("ix_allocations_job", table_name="allocations")
    op.drop_table("allocations")
    op.drop_table("usage_intake")
    op.drop_index(
        "ix_job_states_live",
        table_name="job_states",
        postgresql_where=sa.text("state NOT IN ('succeeded','failed','cancelled')"),
    )
    op.drop_table("job_states")
    op.drop_table("attempts")
    op.drop_table("node_states")
    op.drop_index("ix_jobs_firm_id_submitted", table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("idempotency_keys")
    op.drop_index(op.f("ix_devices_node_id"), table_name="devices")
    op.drop_table("devices")
    op.drop_index(op.f("ix_api_keys_principal_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(op.f("ix_agent_keys_node_id"), table_name="agent_keys")
    op.drop_table("agent_keys")
    op.drop_index(op.f("ix_window_segments_firm_id"), table_name="window_segments")
    op.drop_table("window_segments")
    op.drop_table("queues")
    op.drop_table("projects")
    op.drop_table("principals")
    op.drop_table("nodes")
    op.drop_table("join_tokens")
    op.drop_table("cosignatures")
    op.drop_index("ix_charges_segment", table_name="charges")
    op.drop_index("ix_charges_firm", table_name="charges")
    op.drop_index("ix_charges_allocation_id", table_name="charges")
    op.drop_table("charges")
    op.drop_table("reports")
    op.drop_table("program_versions")
    op.drop_table("price_versions")
    op.drop_table("pools")
    op.drop_index("ix_log_entries_type", table_name="log_entries")
    op.drop_index("ix_log_entries_node", table_name="log_entries")
    op.drop_table("log_entries")
    op.drop_table("log_checkpoints")
    op.drop_table("leaders")
    op.drop_table("inbox")
    op.drop_table("gateways")
    op.drop_table("firms")
    op.drop_table("evidence_intake")
    op.drop_index("ix_events_job", table_name="events")
    op.drop_index("ix_events_firm", table_name="events")
    op.drop_table("events")
