"""Moves objects between an S3-compatible store and a task's folder, in a process that is the firm's user.

`agents.stores` starts it; `__main__` says what they tell each other. `asking` is all that knows the store.
"""
