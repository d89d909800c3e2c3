"""Who runs the jobs of a suite: one process after the other, or several at a time."""
