"""A small witness: serves the pure state machine of `suanli.evidence.witness` over HTTP from its own folder.

Here belong the server, the folder with its key and state, and nothing that decides what may be cosigned.
"""
