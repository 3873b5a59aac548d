"""Data sets of the chapters; each module is imported by name: ``from tssbn.data import digits``."""
