"""The folder of a run: every file name and format of it is written and read here alone."""
