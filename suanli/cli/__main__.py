"""`python -m suanli.cli`: the same as the command `suanli`."""

from suanli.cli.main import main

main()
