"""Satellite time series: d-pixel tiles on disk, and a simulator that makes them."""
