"""Sparring: two networks make each other better, and an honest judge says how good they are."""

__version__ = "0.1.0"
