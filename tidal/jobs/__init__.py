"""Jobs: staged computations, their results and provenance."""
