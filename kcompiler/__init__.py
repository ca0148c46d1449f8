"""The compiler: text in, values out."""

__version__ = "0.1.0"
