"""Evidence: signed usage windows, the log they enter, and the offline verifier. A pure ring.

Here belongs what decides whether a byte is evidence: formats with their strict parsers, Merkle trees,
C2SP tiles, notes, log checkpoints, cosignatures and policies, the witness's state machine, bundles and the
steps of verification. Nothing here reads a clock, a socket or a random number; times, keys and salts are
arguments. The only file that touches a disk is `bundle_io`, the edge at which bundles are read and written.

Arrows: `suanli.evidence` may use `suanli.rating`, never the other way round.
"""
