"""A model and what is asked of it → its answers: the ways to ask. One more: a file with `RUNNER` here, which names the
"module:function" that opens it; specs use it as `evaluation.runners: [{use: <name>}]`."""
