"""`python -m kcompiler` → the command line."""

from kcompiler.cli import main

main()
