"""The environments: batched and scalar, their episodes, prompts and rendering."""
