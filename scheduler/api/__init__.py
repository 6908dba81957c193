"""The REST API: routers per noun, schemas In/Out, who calls, problems, streams.

Belongs here: everything that knows HTTP. Does not belong here: rules (domain), transactions' contents
(services), and any decision about placement or state (planner, machine).
"""
