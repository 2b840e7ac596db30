"""The two channels that a stimulus enters by: weights and context."""
