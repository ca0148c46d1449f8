"""A model description → its features: which shapes each of them may have, its element type, whether it is an image.

What a caller may pass is decided here, not by the program: a program leaves a flexible dimension open, the description
says which sizes it takes. Source: Apple's `FeatureTypes.proto`; an image's program type is the one coremltools writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runtime.contract import BrokenEvidence
from runtime.mil.program import Feature, Message, Shape

#: (least, largest) size of a dimension; None is no largest
Bounds = tuple[int, int | None]

_ARRAY_DTYPES = {65568: "float32", 65552: "float16", 131104: "int32", 131080: "int8", 65600: "float64"}
#: what a classifier's label, or a key of what it says of every label, may be
_LABELLED = {"stringType": "string", "int64Type": "int64", "stringKeyType": "string", "int64KeyType": "int64"}
#: colour space → (channels, dtype of the program's value); pixels of 8 bits arrive as float32
_COLOURS = {
    "GRAYSCALE": (1, "float32"),
    "RGB": (3, "float32"),
    "BGR": (3, "float32"),
    "GRAYSCALE_FLOAT16": (1, "float16"),
}


class Described(NamedTuple):
    """A feature as the description declares it. `shape` has None where the size may vary, and is empty where none is
    declared (an output whose shape follows from the inputs). `bounds` gives the range of every dimension, `choices`
    the enumerated shapes; at most one of them is there. `colour` names an image's colour space, "" for an array.
    `default` is the one shape that the description names, () where it names none."""

    name: str
    shape: Shape
    dtype: str
    bounds: tuple[Bounds, ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()
    colour: str = ""
    default: tuple[int, ...] = ()

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape may be passed."""
        if self.choices:
            return tuple(shape) in self.choices
        if self.bounds:
            return len(shape) == len(self.bounds) and all(
                low <= size and (high is None or size <= high)
                for size, (low, high) in zip(shape, self.bounds, strict=True)
            )
        return not self.shape or tuple(shape) == self.shape

    def fits(self, feature: Feature) -> bool:
        """Whether a value of the function can be this feature: one dtype, and shapes that do not exclude each other."""
        if self.dtype != feature.dtype:
            return False
        if not self.shape:
            return True
        if len(self.shape) != len(feature.shape):
            return False
        if None not in feature.shape:
            # one shape is all the program can take; a description that also offers others promises too much
            return None not in self.shape and self.shape == feature.shape
        return all(
            size in (None, other) or other is None for size, other in zip(self.shape, feature.shape, strict=True)
        )

    @property
    def declared(self) -> str:
        """The shapes in words: "(1, 2..32)", "(1, 4) or (1, 8)"."""
        if self.choices:
            return " or ".join(shape_text(choice) for choice in self.choices)
        if self.bounds:
            return "(" + ", ".join(_range(*bounds) for bounds in self.bounds) + ")"
        return shape_text(self.shape)


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape in words; an unknown size is a question mark."""
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _range(low: int, high: int | None) -> str:
    if low == high:
        return str(low)
    return f"{low}.." if high is None else f"{low}..{high}"


def excluded(given: Sequence[tuple[Described, tuple[int, ...]]]) -> str:
    """Why these inputs may not be passed together; "" when they may.

    Enumerated inputs that have as many shapes as each other are enumerated together: the n-th shape of one goes with
    the n-th of the others (from iOS18; before, only one input can be enumerated).
    """
    for feature, shape in given:
        if not feature.admits(shape):
            return f"input {feature.name} has shape {shape_text(shape)}, the package declares {feature.declared}"
    several = [(feature, shape) for feature, shape in given if feature.choices]
    if len({len(feature.choices) for feature, _ in several}) != 1:
        return ""
    rows = [{row for row, choice in enumerate(feature.choices) if choice == shape} for feature, shape in several]
    if set.intersection(*rows):
        return ""
    met = ", ".join(f"{feature.name} {shape_text(shape)}" for feature, shape in several)
    return f"inputs {met} are of different rows of their enumerated shapes"


def described(message: Message) -> Described:
    """A `FeatureDescription` message → the feature. Raises BrokenEvidence when its flexible shapes contradict
    themselves."""
    kind = message.type
    form = kind.WhichOneof("Type")
    if form in _LABELLED:
        return Described(message.name, (), _LABELLED[form])
    if form == "dictionaryType":
        keys = _LABELLED.get(kind.dictionaryType.WhichOneof("KeyType"), "")
        return Described(message.name, (), f"{keys} dictionary of float64")
    if form == "imageType":
        return _image(message.name, kind.imageType)
    array = kind.stateType.arrayType if form == "stateType" else kind.multiArrayType
    default = tuple(int(size) for size in array.shape)
    dtype = _ARRAY_DTYPES.get(array.dataType, f"code {array.dataType}")
    match array.WhichOneof("ShapeFlexibility"):
        case "enumeratedShapes":
            choices = [tuple(int(size) for size in item.shape) for item in array.enumeratedShapes.shapes]
            return _enumerated(message.name, dtype, default, choices)
        case "shapeRange":
            return _ranged(message.name, dtype, default, [_bounds(item) for item in array.shapeRange.sizeRanges])
        case _:
            return Described(message.name, default, dtype, default=default)


def _image(name: str, image: Message) -> Described:
    """An image is a value of shape (1, channels, height, width)."""
    names = image.DESCRIPTOR.fields_by_name["colorSpace"].enum_type.values_by_number
    colour = str(names[image.colorSpace].name) if image.colorSpace in names else f"code {image.colorSpace}"
    if colour not in _COLOURS:
        raise BrokenEvidence(f"image {name} has no colour space ({colour})", subject="model.mlmodel")
    channels, dtype = _COLOURS[colour]
    # a flexible output has none
    default = (1, channels, int(image.height), int(image.width)) if image.height and image.width else ()
    match image.WhichOneof("SizeFlexibility"):
        case "enumeratedSizes":
            sizes = [(1, channels, int(item.height), int(item.width)) for item in image.enumeratedSizes.sizes]
            found = _enumerated(name, dtype, default, sizes)
        case "imageSizeRange":
            size = image.imageSizeRange
            bounds = [(1, 1), (channels, channels), _bounds(size.heightRange), _bounds(size.widthRange)]
            found = _ranged(name, dtype, default, bounds)
        case _:
            found = Described(name, default, dtype, default=default)
    return found._replace(colour=colour)


def _bounds(message: Message) -> Bounds:
    """A `SizeRange` message; a negative upper bound is none."""
    return int(message.lowerBound), int(message.upperBound) if message.upperBound >= 0 else None


def _enumerated(name: str, dtype: str, default: tuple[int, ...], choices: Sequence[tuple[int, ...]]) -> Described:
    ranks = {len(choice) for choice in choices}
    if len(ranks) != 1:
        raise BrokenEvidence(f"feature {name} enumerates shapes of {len(ranks)} ranks", subject="model.mlmodel")
    shape = tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*choices, strict=True))
    found = Described(name, shape, dtype, choices=tuple(choices))
    return _with_default(found if None in shape else Described(name, shape, dtype), default)


def _ranged(name: str, dtype: str, default: tuple[int, ...], bounds: Sequence[Bounds]) -> Described:
    empty = [_range(low, high) for low, high in bounds if high is not None and high < low]
    if not bounds or empty:
        said = f"the range {empty[0]}" if empty else "no range"
        raise BrokenEvidence(f"feature {name} has {said} for a size", subject="model.mlmodel")
    shape = tuple(low if low == high else None for low, high in bounds)
    found = Described(name, shape, dtype, bounds=tuple(bounds))
    return _with_default(found if None in shape else Described(name, shape, dtype), default)


def _with_default(feature: Described, default: tuple[int, ...]) -> Described:
    """The default shape, where one is given, must be among the declared ones."""
    if default and not feature.admits(default):
        text = f"feature {feature.name} has the default shape {shape_text(default)}, declared {feature.declared}"
        raise BrokenEvidence(text, subject="model.mlmodel")
    return feature._replace(default=default)
