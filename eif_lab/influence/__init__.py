"""From a model, stimuli and probes to the influence array."""
