"""Files that are whole or not there: checksums, locks, folders that are built once."""
