"""Schema migrations (Alembic). In steps: expand, backfill, contract; numbered, one head."""
