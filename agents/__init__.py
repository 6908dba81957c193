"""What runs on a host: the node agent and the shims of its tasks.

The agent finds the host's devices, obeys the controller's desired state, runs tasks under shims, meters
every device-millisecond, signs what it saw and keeps it until the evidence log has it. It imports
`protos` and `suanli.evidence` and nothing else of this project.
"""
