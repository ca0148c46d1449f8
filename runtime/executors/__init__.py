"""A step ready to be carried out → the same, carried out in some place. One more: a file with `EXECUTOR` here, named
by `execution.executor`."""
