"""Metrics of the tasks; each keeps running sums, and gives numbers by name."""
