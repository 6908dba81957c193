"""PURE: the agent's decisions and its arithmetic of time; no clock, file, socket or randomness here.

`machine` turns messages into instructions, `meter` turns readings into windows, `clock` turns two clocks
into one that never goes back.
"""
