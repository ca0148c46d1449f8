"""A model that is run → the nanoseconds of its answers, and two reports of them → how far apart they are."""
