"""Jobs: staged computations and what they were made with."""
