"""Infrastructure management: nodes come and go."""
