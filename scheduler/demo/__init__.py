"""The main job, run for somebody who has just cloned the project: `suanli demo`.

Everything here stands outside the product and uses it as its users do: it starts the real processes,
speaks REST through `suanli.client`, and prints. No decision about jobs, usage or money is made here.
"""
