"""Readers of the published data sets, each from a folder in the public layout."""
