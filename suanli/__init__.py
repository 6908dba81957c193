"""Suanli for researchers, firms and auditors: client, command line, evidence formats, rating, verifier, witness.

Nothing here imports the control plane or the agent: this package is installed alone.
"""
