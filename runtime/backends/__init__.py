"""The toolchain a step asks for → its operations and what they require, imported when one is performed. One more: a
file with `BACKEND` here; steps name it."""
