"""Scores of networks; each module is imported by name: ``from tssbn.training import metrics``."""
