"""What a message advises to ask is known: fields below names that a spec chooses itself, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kcompiler.render import pages
from runtime import catalog
from runtime.contract import Loss
from runtime.contract.conditions import MASKS
from tests.unit.kcompiler.checks import laboratory


def test_a_number_below_a_name_of_the_specs_own_is_explained_as_its_message_says(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["quantization"].update(calibration={"sources": {"answers": 0}})

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    asked = re.search(r"`kcompiler explain (\S+)`", found.help)
    assert asked, found.help
    assert "minimum: 1" in pages.explain(asked[1])


def test_a_number_where_words_are_choices_is_told_the_choices(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data.update(export={"deployment": 26})

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert (found.code, found.help) == ("KC2101", "choose one of iOS17, iOS18, iOS26")
    chosen = found.help.rpartition(" ")[2]
    assert "KC2101" not in laboratory.codes(tmp_path, lambda data: data.update(export={"deployment": chosen}))


def test_a_name_that_no_field_has_is_not_explained() -> None:
    with pytest.raises(pages.Unknown, match="no such field"):
        pages.explain("field:quantization.calibratio.sources")


@pytest.mark.parametrize("name", catalog.names("losses"))
def test_a_loss_says_its_formula_what_its_gradient_reaches_where_it_hurts_and_whose_it_is(name: str) -> None:
    page = pages.explain(f"loss:{name}")
    assert all(f"\n{part}: " in page for part in ("  formula", "gradient", "hurts", "source"))
    loss: Loss = catalog.load("losses", name)
    for mask in MASKS.keys() & {loss.mask}:
        assert all(f"`wanted.{one}`" in page for one in MASKS[mask].wanted)
    assert ("of `teacher.store" in page) is (loss.layers is not None or "logits" in loss.needs)


def test_a_loss_of_a_head_says_which_one_it_trains() -> None:
    page = pages.explain("loss:halt")
    assert "log-odds of its head `halt`" in page
    assert "not of its words" in page
