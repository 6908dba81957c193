"""Pure nouns of the scheduler, one file a noun: what a job, a node, a device, a pool *is*.

Belongs here: ids, frozen value types, closed lists, and rules that need nothing but the noun itself.
Does not belong here: I/O, clocks, randomness, decisions about placement (planner) or about the order of
states (machine).
"""
