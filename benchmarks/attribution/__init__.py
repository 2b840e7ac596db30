"""What attribution methods predict, held to the influence that is measured. See docs/attribution.md."""
