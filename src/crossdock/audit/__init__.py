"""The record of what was done: what may stand in it, and the bytes that prove it."""
