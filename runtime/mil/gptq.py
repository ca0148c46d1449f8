"""Weights and what they are multiplied by → the stored form whose *outputs* are nearest, not its numbers.

Rounding to the nearest value is the best that can be done for each weight alone. A matrix product adds them up: what
the rounding of one input's column loses, the columns that are not rounded yet can make good, as far as the inputs go
together (GPTQ, Frantar et al. 2023, arXiv 2210.17323). With the inputs X_TI of a few texts and H_II = Xᵀ X / T,

    lost(Ŵ) = tr((W - Ŵ) H (W - Ŵ)ᵀ) / tr(W H Wᵀ)

is the part of the outputs' energy that a stored form loses. Columns are rounded in the order of their inputs' energy;
scales and palettes are chosen before, each for the numbers it serves, weighted by that energy:

    scale   of 21 between half of the one that saturates nothing and that one, the best
    palette the best values (`kmeans`), each number counted as its input has energy

Letters: O outputs, I inputs, T tokens, K values of a palette, G groups of rows, B blocks of inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract.recipe import BITS, SCALED, Weights
from runtime.mil.kmeans import centres
from runtime.mil.quantize import QMAX, Form, Palette, Quantized, quantize, restored, spread

Real: TypeAlias = NDArray[np.float64]
Float: TypeAlias = NDArray[np.float32]
#: of the mean energy of the inputs, added to each: what few texts say of rare inputs is not believed to the last digit
DAMPING = 0.01
#: columns whose losses are handed on at once
CHUNK = 128
#: parts of the scale that saturates nothing
SHRUNK = np.linspace(0.5, 1.0, 21)


class Calibrated(NamedTuple):
    """A stored form, the part of the outputs' energy that it loses, and what rounding to the nearest value loses."""

    stored: Form
    lost: float
    lost_nearest: float
    #: False where nothing was gained, and the form is the nearest one
    better: bool


def fits(asked: Weights) -> bool:
    """Whether a stored form has values to choose among: float16 and masks have not."""
    return asked.weights in SCALED or asked.weights.startswith("lut")


def calibrated(weight_OI: Float, energy_II: Real, asked: Weights) -> Calibrated:
    """The better of the form that error feedback finds and the nearest one.

    energy_II: mean over tokens of the outer product of the inputs. Raises ValueError for a form that has no values to
    choose among, and for energies that are not finite or all zero.
    """
    if not fits(asked):
        raise ValueError(f"{asked.weights} is not calibrated")
    if not np.isfinite(energy_II).all() or not np.trace(energy_II) > 0:
        raise ValueError("the inputs have no energy, or are not finite")
    nearest = quantize(weight_OI, asked)
    lost_nearest = lost(weight_OI, nearest, energy_II)
    damped_II = energy_II + DAMPING * float(np.mean(np.diag(energy_II))) * np.eye(len(energy_II))
    make = _scaled if asked.weights in SCALED else _palette
    stored = make(weight_OI, damped_II, asked)
    found = lost(weight_OI, stored, energy_II)
    if found < lost_nearest:
        return Calibrated(stored, found, lost_nearest, better=True)
    return Calibrated(nearest, lost_nearest, lost_nearest, better=False)


def lost(weight_OI: Float, stored: Form, energy_II: Real) -> float:
    """Part of the outputs' energy that is lost, 0 for exact ones."""
    there = weight_OI.astype(np.float64)
    apart = there - restored(stored)
    whole = float(np.einsum("oi,oi->", there @ energy_II, there))
    return float(np.einsum("oi,oi->", apart @ energy_II, apart)) / whole if whole > 0 else 0.0


def _fed(weight_OI: Float, damped_II: Real, rounded: Callable[[int, Real], Real]) -> None:
    """Hand every column to `rounded`, which says what it becomes, the most energetic input first, with what was lost of
    the columns before added to it."""
    order = np.argsort(-np.diag(damped_II), kind="stable")
    # rows of U, with Uᵀ U = H⁻¹: what column j loses is made good by those after it in the ratio U_j,after / U_j,j
    upper_II = np.linalg.cholesky(np.linalg.inv(damped_II[np.ix_(order, order)])).T
    left_IO = weight_OI.T[order].astype(np.float64)
    for begin in range(0, len(order), CHUNK):
        end = min(begin + CHUNK, len(order))
        errors_CO = np.empty((end - begin, left_IO.shape[1]))
        for j in range(begin, end):
            column_O = left_IO[j]
            errors_CO[j - begin] = error_O = (column_O - rounded(int(order[j]), column_O)) / upper_II[j, j]
            left_IO[j + 1 : end] -= upper_II[j, j + 1 : end, None] * error_O
        left_IO[end:] -= upper_II[begin:end, end:].T @ errors_CO


def _scaled(weight_OI: Float, damped_II: Real, asked: Weights) -> Quantized:
    qmax = QMAX[asked.weights]
    scale = _scale(weight_OI, np.diag(damped_II), asked)
    step_OI = np.broadcast_to(spread(scale.astype(np.float64), weight_OI.shape), weight_OI.shape)
    data_IO = np.empty(weight_OI.shape[::-1], np.int8)

    def rounded(i: int, column_O: Real) -> Real:
        data_IO[i] = whole_O = np.clip(np.rint(column_O / step_OI[:, i]), -qmax, qmax)
        return whole_O * step_OI[:, i]

    _fed(weight_OI, damped_II, rounded)
    return Quantized(np.ascontiguousarray(data_IO.T), scale)


def _scale(weight_OI: Float, energy_I: Real, asked: Weights) -> NDArray[np.float16]:
    """Of each scale's candidates the one whose nearest integers lose least, each number weighted by its input."""
    nearest = quantize(weight_OI, asked)
    assert isinstance(nearest, Quantized)
    qmax, full = QMAX[asked.weights], nearest.scale
    parts = full.shape
    outputs, inputs = weight_OI.shape
    cells = (parts[0], outputs // parts[0], parts[1], inputs // parts[1])
    numbers = weight_OI.astype(np.float64).reshape(cells)
    weighted = np.broadcast_to(energy_I, weight_OI.shape).reshape(cells)
    best, least = full.copy(), np.full(parts, np.inf)
    for part in SHRUNK[::-1]:
        scale = np.maximum((full.astype(np.float64) * part).astype(np.float16), np.finfo(np.float16).smallest_subnormal)
        step = scale.astype(np.float64)[:, None, :, None]
        apart = numbers - np.clip(np.rint(numbers / step), -qmax, qmax) * step
        cost = np.einsum("aobi,aobi->ab", apart**2, weighted)
        better = cost < least
        best[better], least[better] = scale[better], cost[better]
    return best


def _palette(weight_OI: Float, damped_II: Real, asked: Weights) -> Palette:
    entries = 1 << BITS[asked.weights]
    outputs = len(weight_OI)
    groups = 1 if asked.group is None else outputs // asked.group
    importance_OI = np.broadcast_to(np.diag(damped_II), weight_OI.shape)
    lut_GK = np.empty((groups, entries), np.float16)
    for group, (numbers, counted) in enumerate(
        zip(np.split(weight_OI, groups), np.split(importance_OI, groups), strict=True)
    ):
        found = centres(numbers, entries, counted)
        # a tensor of fewer numbers leaves entries over, which nothing points to
        lut_GK[group] = np.pad(found, (0, entries - len(found)), mode="edge").astype(np.float16)
    values_GK = lut_GK.astype(np.float64)
    between_GK = (values_GK[:, :-1] + values_GK[:, 1:]) / 2
    indices_IO = np.empty(weight_OI.shape[::-1], np.uint8)

    def rounded(i: int, column_O: Real) -> Real:
        column_GR = column_O.reshape(groups, -1)
        found = np.stack([np.searchsorted(*pair) for pair in zip(between_GK, column_GR, strict=True)])
        indices_IO[i] = found.reshape(-1)
        return np.take_along_axis(values_GK, found, axis=1).reshape(-1)

    _fed(weight_OI, damped_II, rounded)
    return Palette(np.ascontiguousarray(indices_IO.T), lut_GK.reshape(groups, 1, entries, 1))
