"""The verifier's steps, a file per group: each takes the case, adds findings, leaves what the next needs.

No step raises for what a bundle holds: whatever is malformed becomes a finding. A step that cannot go on
stops the case with a reason; the steps after it count as not passed.
"""
