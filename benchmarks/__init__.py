"""What is measured, and how to repeat it: one module a benchmark, `python -m benchmarks.<name>`.

What belongs here: programs that start what they measure, print rows of harness.py and leave nothing running.
What does not: tests, which say yes or no.
"""
