"""Queue management: jobs go in, results come out."""
