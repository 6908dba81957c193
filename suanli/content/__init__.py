"""PURE: folders as content: a manifest of files, cut into objects that are named by their SHA-256.

Shared by the client that sends a folder, the control plane that keeps it, and the agent that unpacks it and
sends results back. Nobody here believes a path or a hash because somebody else checked it.
"""
