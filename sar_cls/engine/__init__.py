"""One run from its row to its record: what is planned, trained, evaluated and kept."""
