"""Memory, precision and time that a measurement takes."""
