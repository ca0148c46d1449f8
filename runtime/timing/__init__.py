"""A model that is run → the nanoseconds of its answers, two reports of them → how far apart they are, and answers → the
tokens that they took."""
