"""Room: tools."""
