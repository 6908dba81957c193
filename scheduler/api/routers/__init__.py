"""One router a noun. A route reads the request, calls one use case in one transaction, and answers."""
