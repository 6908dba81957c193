"""`python -m scheduler`, the same as the command `scheduler`."""

from scheduler.app import main

if __name__ == "__main__":
    main()
