"""Stores, connections and their revisions: what is configured, by whom, and how to undo it."""
