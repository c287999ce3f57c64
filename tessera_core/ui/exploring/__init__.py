"""The parts of the page Explore: its region, pictures, scatter, pixel's story, alike places and groups."""
