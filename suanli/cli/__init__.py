"""The command line `suanli`: one verb, one function; it asks the client (or the verifier) and prints.

Belongs here: reading files and options, printing for people and programs. Does not belong here: HTTP (client)
and any rule about jobs, evidence or money.
"""
