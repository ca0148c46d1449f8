"""Rows, answers and their sources → datasets, splits and token ids: machinery of the steps that read data. One more
subject is one more module; a step reaches it through a backend's operation."""
