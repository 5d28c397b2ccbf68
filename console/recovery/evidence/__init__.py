"""Evidence: what a capture holds, whether it is whole, which captures there are."""
