"""Room: backends."""
