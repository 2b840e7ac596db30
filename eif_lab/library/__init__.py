"""From a task to an annotated influence array, with no job and no Hydra."""
