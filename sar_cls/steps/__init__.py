"""One training step in its modes, its precision and the means of its losses. Pure torch."""
