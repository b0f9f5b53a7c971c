"""Text of episodes: prompts, pieces of tokens, rendering."""
