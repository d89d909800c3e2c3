"""Suites as data: which rows a table has, and what each row runs. Needs the standard library alone."""
