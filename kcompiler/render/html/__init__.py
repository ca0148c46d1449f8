"""A result and what lies here of its runs → one HTML page for people; each of its parts is one file here."""
