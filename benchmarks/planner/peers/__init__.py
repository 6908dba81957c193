"""What the planner is measured against, written from the papers: no line of it decides for Suanli."""
