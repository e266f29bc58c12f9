"""Plain NumPy twins of the models: the meaning of what the Rust core computes, never optimised."""

from __future__ import annotations
