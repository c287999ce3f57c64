"""Help: the words of the studio, its keys, what it is, and the first steps."""
