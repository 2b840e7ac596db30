"""How fast the engines are: against the floor, against loops, against other libraries. `python -m benchmarks`."""

import os

# Both are read when torch and tqdm are first imported. Spinning threads slow everything down by a multiple where
# anything else runs on the same cores; the command line has them wait passively too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TQDM_DISABLE", "1")
