"""Builders of test data, one file per area; each gives valid defaults that a test changes one by one."""
