"""Readers of the published data sets, each from a folder in its public layout.

``nyuv2``, ``cityscapes``, ``cityscapes_small``, ``celeba`` and ``pascal`` read one set each, on
what they share in ``dataset``. ``find`` looks for a set on this machine, ``fetch`` downloads,
``archives`` unpacks, and ``check`` says whether a folder can be used.
"""
