"""Evidence: what a capture holds, how it is made, which captures there are."""
