"""Jobs: every piece of work that a user can start, by kind."""
