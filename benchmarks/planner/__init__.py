"""The planner judged on published traces: cases B1 to B19, each with its peer run by the same harness."""
