"""Plain NumPy twins of what learns in the core: their meaning, never optimised.

float32 in the order that docs/semantics.md states; the engine equals them to the bit.
"""
