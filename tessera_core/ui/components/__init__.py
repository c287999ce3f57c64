"""Browser components: two maps and a scatter plot, and what they share."""
