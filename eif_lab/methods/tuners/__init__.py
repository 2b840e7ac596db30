"""The tuners of PEFT: what each needs, and where in a model it can be put."""
