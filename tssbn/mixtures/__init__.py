"""Mixtures of experts inside a trunk, with a router for each task and experts that all tasks share.

A router computes weights of the experts for each token or each image. A penalty measures how
unevenly it uses the experts, or how much the experts depend on the task. The methods that use these
parts are :mod:`tssbn.methods.m3vit`, :mod:`~tssbn.methods.mod_squad`, :mod:`~tssbn.methods.mlore`
and :mod:`~tssbn.methods.taskexpert`. Mixtures of whole trunks, such as MMoE, are in
:mod:`tssbn.methods.experts`.
"""
