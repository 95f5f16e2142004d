"""The demonstration: a commerce core and its third parties as real processes, and a check of what each received."""
