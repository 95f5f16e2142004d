"""Benchmarks: each figure stands beside a baseline of the same run, because ratios travel and absolutes do not."""
