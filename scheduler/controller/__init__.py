"""The single writer: a loop that feeds the machine, plans, and commits what changed.

Belongs here: leadership, the cycle, its transaction, its metrics. Does not belong here: rules of states
(machine), choices of placement (planner), SQL (storage).
"""
