"""Room: mil."""
