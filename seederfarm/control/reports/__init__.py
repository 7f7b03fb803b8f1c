"""Reports of workers: replicas, proofs."""
