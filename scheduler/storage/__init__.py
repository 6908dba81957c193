"""PostgreSQL lives here and nowhere else: tables, transactions, roles, pokes, leadership, embedded server.
So do the files of the log, of jobs' output and of content.

What belongs here: how a fact is kept and found. What does not: deciding anything about it.
"""
