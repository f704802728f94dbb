"""Measures edgecomp and its peers on a folder of pictures: ``edgecomp evaluate``.

Nothing that compresses or restores a user's pictures imports this package. What it needs beyond
edgecomp's own requirements is in the extra ``eval``, and is imported only where it is used.
"""
