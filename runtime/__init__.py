"""The machine: steps, backends, store, journal, apply. Never imports kcompiler."""
