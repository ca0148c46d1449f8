"""`waivers/*.yaml` × a time → which violations are excused, by whom, how far and until when; one file is one waiver.

A waiver removes violations that it names and changes no rule: not its mode, not its bound. Whether one is in force is
worked out from the time that is given and stands in no file.
"""

from kcompiler.waiver.effect import NONE, Desk, Found, Given, Granted, Waivers, given, told
from kcompiler.waiver.file import Waiver
from kcompiler.waiver.load import FOLDER, Loaded, load
from kcompiler.waiver.status import State, ended, law, state

__all__ = [
    "FOLDER",
    "NONE",
    "Desk",
    "Found",
    "Given",
    "Granted",
    "Loaded",
    "State",
    "Waiver",
    "Waivers",
    "ended",
    "given",
    "law",
    "load",
    "state",
    "told",
]
