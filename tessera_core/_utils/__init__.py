"""Helpers without a subject of their own, private to the package."""
