"""A tree that is being composed: parts of other trees are put into it, each value with the place it was written at."""

from __future__ import annotations

import copy

from kcompiler.source import Tree, Value

#: by which of its keys an item of a list is called
NAMES = ("name", "id", "term", "use")


class Draft:
    """A copy of a tree that may be changed; `tree()` is the result."""

    def __init__(self, tree: Tree) -> None:
        self._base = tree
        self.data: Value = copy.deepcopy(tree.data)
        self._keys, self._values = dict(tree.keys), dict(tree.values)
        self._foreign, self._texts = dict(tree.foreign), dict(tree.texts)
        self._broken = set(tree.broken)

    def tree(self) -> Tree:
        """The tree as it is now."""
        return Tree(
            self._base.file,
            self._base.text,
            copy.deepcopy(self.data),
            dict(self._keys),
            dict(self._values),
            frozenset(self._broken),
            dict(self._foreign),
            dict(self._texts),
        )

    def put(self, pointer: str, source: Tree, origin: str) -> None:
        """The value at `origin` of `source` in the place of whatever stood at `pointer`, whose parent must exist."""
        self.remove(pointer)
        parent, _, last = pointer.rpartition("/")
        key = key_of(last)
        holder, value = self.get(parent), copy.deepcopy(source.get(origin))
        if isinstance(holder, list):
            holder[int(key)] = value
        else:
            assert isinstance(holder, dict)
            holder[key] = value
        for below in [one for one in source.values if one == origin or one.startswith(f"{origin}/")]:
            self._place(pointer + below[len(origin) :], source, below)

    def open(self, pointer: str, source: Tree, origin: str) -> None:
        """An empty mapping at `pointer` unless something is there already, written where `origin` is: something is
        about to be put below it."""
        parent, _, last = pointer.rpartition("/")
        holder, key = self.get(parent), key_of(last)
        assert isinstance(holder, dict)
        if key in holder:
            return
        holder[key] = {}
        self._place(pointer, source, origin)

    def write(self, pointer: str, value: Value, origin: str) -> None:
        """A plain value that nobody wrote, shown where `origin` stands. Mappings above it are made."""
        parent, _, key = pointer.rpartition("/")
        if not isinstance(self._or_none(parent), dict):
            self.write(parent, {}, origin)
        holder = self.get(parent)
        assert isinstance(holder, dict)
        place, file = self._values[origin], self._foreign.get(origin)
        holder[key] = value
        self._values.setdefault(pointer, place)
        if file is not None:
            self._foreign[pointer] = file

    def doubt(self, pointer: str) -> None:
        """What stands at a pointer is not what it should be, and that was said."""
        self._broken.add(pointer)

    def _or_none(self, pointer: str) -> Value:
        try:
            return self.get(pointer)
        except KeyError:
            return None

    def remove(self, pointer: str) -> None:
        """Forget a value and everything below it; what stands in a list keeps its index."""
        for below in [one for one in self._values if one == pointer or one.startswith(f"{pointer}/")]:
            for places in (self._keys, self._values, self._foreign):
                places.pop(below, None)
            self._broken.discard(below)

    def take(self, pointer: str) -> None:
        """Take a key of a mapping away, with everything below it."""
        self.remove(pointer)
        parent, _, last = pointer.rpartition("/")
        holder = self.get(parent)
        assert isinstance(holder, dict)
        del holder[key_of(last)]

    def get(self, pointer: str) -> Value:
        """The value at a pointer. Raises KeyError when nothing stands there."""
        return Tree(self._base.file, "", self.data, {}, {}).get(pointer)

    def _place(self, pointer: str, source: Tree, origin: str) -> None:
        self._values[pointer] = source.values[origin]
        if origin in source.keys:
            self._keys[pointer] = source.keys[origin]
        if origin in source.broken:
            self._broken.add(pointer)
        file = source.file_of(origin)
        if file != self._base.file:
            self._foreign[pointer] = file
            self._texts[file] = source.text if file == source.file else source.texts[file]


def key_of(last: str) -> str:
    """The key that the last part of a pointer stands for."""
    return last.replace("~1", "/").replace("~0", "~")


def item(value: list[Value], name: str) -> int | None:
    """Index of the item of a list that is called so: by its own name, else by its number."""
    for i, one in enumerate(value):
        if isinstance(one, dict) and any(one.get(key) == name for key in NAMES):
            return i
    return int(name) if name.isdecimal() and int(name) < len(value) else None


def names(value: list[Value]) -> list[str]:
    """What the items of a list are called, those without a name by their number."""
    return [
        next((str(one[key]) for key in NAMES if isinstance(one, dict) and isinstance(one.get(key), str)), str(i))
        for i, one in enumerate(value)
    ]
