"""Tests, and what they share: builders and the way to data outside the repository."""
