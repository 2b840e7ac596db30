"""Results of jobs: arrays, verdicts and manifests on disk, tables, and trackers."""
