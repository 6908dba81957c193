"""Whole clusters of real processes. A package, so that what its files share ends with the last of them."""
