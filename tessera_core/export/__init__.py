"""What leaves the studio: maps, labels, styles, reports and bundles, in formats that other programs open as they are."""
