"""Contracts: read them strictly, judge them by rules, and apply them to events. Pure, but for the catalogue's files."""
