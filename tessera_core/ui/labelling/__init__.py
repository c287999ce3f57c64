"""What the page Label tells about a map beside the map: how good it is, where to look next, and tools to mend it."""
