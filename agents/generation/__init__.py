"""Text generation with an agent that sets the gates."""
