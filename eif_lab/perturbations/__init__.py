"""How a stimulus enters training."""
