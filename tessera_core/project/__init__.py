"""All that knows a project: what it holds, and each task done for one (load, generate, classify, regress, validate, compare)."""
