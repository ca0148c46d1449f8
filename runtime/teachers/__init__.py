"""Room: teachers."""
