"""Measurements behind ``tessera bench``: each module has ``run(args) -> dict`` and times its peers in the same run."""
