"""One job: from its options to its results."""
