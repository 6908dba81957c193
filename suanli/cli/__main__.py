"""`python -m suanli.cli`: the same as the command `suanli`."""

from suanli.cli.start import main

main()
