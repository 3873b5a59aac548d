"""Synthetic data sets with exact labels, the same bits on every processor.

``scenes`` renders rooms and streets, ``faces`` draws portraits, and ``digits`` places scans of
handwritten digits on a canvas. What is rendered once is kept by ``cache``.
"""
