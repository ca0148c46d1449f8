"""For every test process: threads that wait must not spin, or two test workers starve each other."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
