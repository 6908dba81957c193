"""Use cases: one function is one use case is one transaction (the caller opens it and commits at the edge).

Belongs here: who may do it, what must hold, which rows and inbox messages follow. Every function takes the
session, who calls, and the moment and ids it needs. Does not belong here: HTTP, protobuf, and any decision
about placement (the planner's) or about a state (the controller's).
"""
