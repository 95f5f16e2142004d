"""Delivery: take entries along their lanes, decide what each answer means, settle."""
