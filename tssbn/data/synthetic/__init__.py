"""Synthetic data sets: drawn rooms, streets and faces, and handwritten digits."""
