"""What a job leaves behind: arrays, verdicts and manifests on disk, tables, and trackers."""
