"""Measurements behind ``benchmarks/faithful_weights.py``: each returns one row, computed from running both sides."""
