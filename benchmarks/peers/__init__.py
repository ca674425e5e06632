"""What the daemon is compared with: the least that could do the same work, each a program of its own."""
