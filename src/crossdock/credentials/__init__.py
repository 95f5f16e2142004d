"""Sealing: every secret and every payload bound to its place, and secrets that cannot be shown by accident."""
