"""Held-out rows and models that can be questioned → the data of one evaluation report. One more: a file with `SUITE`
here, named by `evaluation.suites[].use`, and its schema beside the others."""
