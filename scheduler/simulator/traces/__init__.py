"""Readers of published traces and tables: one module for each kind of table, whatever its file is called.

A kind is recognised by the columns in its first line (`kinds.py`), so that other data of the same kind is
read without a change.
"""
