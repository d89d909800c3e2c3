"""Tables of a suite, as Markdown and CSV."""
