"""A table of many kinds of torch models and tasks, each held to a loop written by hand."""
