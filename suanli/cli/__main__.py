"""`python -m suanli.cli`: the same as the command `suanli`."""

from suanli.cli.main import main

if __name__ == "__main__":
    main()
