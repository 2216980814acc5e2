"""See on a bench why networks learn the way they do.

A folding ruler, a chain of blocks and springs, and a deep network share a load among their
sections in the same way. Every module of this package turns one record into the next
(`rulerlab.records`), from a video to the load curve, and from there to fits and comparisons.
"""

__version__ = "0.1.0"
