"""Rating: what usage costs, recomputed by anybody from the same inputs. A pure ring without dependencies.

Integers and exact fractions only; one rounding per line. Here belong prices, charges, programs, usage
figures, statements and the balance of device time. Nothing here knows how its inputs were logged or signed:
`suanli.evidence` turns entries into these inputs, and may import this ring; never the other way round.
"""
