"""Reading every probe under one stimulus's parameters."""
