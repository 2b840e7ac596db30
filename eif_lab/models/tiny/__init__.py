"""How phi3-tiny is made."""
