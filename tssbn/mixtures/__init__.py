"""Mixtures of experts inside a network: routers that are the tasks' own, experts that all share.

A router gives each token, or each image, weights of experts; how evenly it uses them, or how far
the tasks part by them, is a penalty. What a method builds of these, and where it puts them, its own
file says: :mod:`tssbn.methods.m3vit`, :mod:`~tssbn.methods.mod_squad`, :mod:`~tssbn.methods.mlore`
and :mod:`~tssbn.methods.taskexpert`. (The mixtures of whole trunks, such as MMoE, are in
:mod:`tssbn.methods.experts`.)
"""
