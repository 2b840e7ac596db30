"""One HTML page about a job or a sweep."""
