"""The environments, batched and scalar, with their prompts, rendering and state."""
