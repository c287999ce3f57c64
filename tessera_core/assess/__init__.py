"""Honest scores: splits that keep neighbours apart, metrics that do not flatter, baselines beside ours.

Nothing is imported here: what judges a sample needs none of what learns.
"""
