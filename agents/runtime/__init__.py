"""How tasks run: the shim that owns a task's processes, and the agent's side of it.

Kept empty of imports: a shim starts from here and must start fast.
"""
