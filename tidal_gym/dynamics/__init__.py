"""The dynamics of a step: streams, modulation by the gates, neutral distribution and observation."""
