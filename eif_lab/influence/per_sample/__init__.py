"""Each sample's own gradient and parameters, for many samples at once."""
