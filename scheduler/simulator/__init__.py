"""Trace replay and what-if: the production planner and machine under a virtual clock.

Belongs here: readers of traces and of Suanli's own history, virtual clusters, the event loop, what is
measured on the way, and its pictures. Does not belong here: decisions. There is no `if simulate` anywhere:
what decides is `scheduler.planner`, what carries out is `scheduler.machine`.
"""
