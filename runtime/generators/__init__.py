"""A seed and parameters → dataset rows of this project's own making. One more: a file with `GENERATOR` here, named
by `data.sources[].generator`."""
