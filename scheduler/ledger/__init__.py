"""The ledger: gives facts and windows their place in the evidence log, publishes it, and rates what it holds.

Belongs here: sequencing, tiles and log checkpoints, witnesses, charges. One process leads. Nothing of this is
in the planner's way, and nothing here decides what runs. Published tiles outrank the database: where the two
disagree the ledger halts, and never signs a second tree.
"""
