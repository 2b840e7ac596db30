"""What a job would take, with nothing run."""
