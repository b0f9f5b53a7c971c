"""The environments, batched and scalar, with their episodes and state."""
