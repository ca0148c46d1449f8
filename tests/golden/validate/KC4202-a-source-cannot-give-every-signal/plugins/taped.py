"""A teacher whose answers were recorded as text."""

from runtime.contract import Params, Teacher


class TapedTeacher(Params):
    tape: str


TEACHER = Teacher(name="taped", version=1, params=TapedTeacher, signals=frozenset({"text"}), step="import_teacher")
