"""The command for people, and what it is made of."""
