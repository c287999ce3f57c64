"""Places on Earth by coordinates, by name from a gazetteer that needs no network, or by an online service."""
