"""`scheduler up`: the whole control plane on one machine, from one command.

What belongs here: the installation's secrets, the child processes and their order. What does not: anything
that a process decides; each of them is the same program as in a large installation.
"""
