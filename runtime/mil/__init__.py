"""A saved `.mlpackage` → its numbers, executed in numpy, and everything proved by that; and the way there from an
exported program. One more operator: a function in `ops/`, registered under its MIL name."""
