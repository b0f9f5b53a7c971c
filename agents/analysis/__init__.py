"""Analysis of how an agent uses the gates."""
