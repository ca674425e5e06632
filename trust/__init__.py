"""Long proofs that nothing is lost, whatever breaks."""
