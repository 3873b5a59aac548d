"""Saved runs: how they are written, read, summed up and put into tables."""
