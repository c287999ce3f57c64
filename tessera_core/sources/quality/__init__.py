"""What is wrong with tiles, and its repair."""
