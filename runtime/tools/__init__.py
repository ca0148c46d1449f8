"""A registry of tools and a model's text → calls, and by name why one is none. What the compiler checks too stands
in `runtime.contract`."""
