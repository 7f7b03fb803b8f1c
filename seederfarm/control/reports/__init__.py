"""What workers report: replicas, proofs."""
