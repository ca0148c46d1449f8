"""For every test process: threads that wait do not spin, and hypothesis draws the same examples every time.

`KCOMPILER_EXPLORE=1 python -m pytest tests/property` draws new ones.
"""

import os

from hypothesis import settings

# two test workers with spinning threads starve each other
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("same", derandomize=True)
if not os.environ.get("KCOMPILER_EXPLORE"):
    settings.load_profile("same")
