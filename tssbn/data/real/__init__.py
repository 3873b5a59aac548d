"""Readers of the published data sets, each from a folder in its public layout.

``nyuv2``, ``cityscapes``, ``cityscapes_small``, ``celeba``, ``pascal``, ``census`` and ``treebank``
read one data set each; their common base class is in ``dataset``. ``find`` looks for a data set on
this machine, ``fetch`` downloads, ``archives`` unpacks, and ``check`` tells whether a folder can be
used.
"""
