"""One driver per vendor, and how the right one is found; parsers of vendor tools are pure: text to data."""
