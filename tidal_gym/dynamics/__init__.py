"""The dynamics of one token: streams, modulation by the gates, neutral distribution, observation."""
