"""Gold answers of BFCL and systematically damaged ones through the suite `bfcl`: a table of the share that is right.

    python -m tests.bench.bfcl_table FOLDER [--published FOLDER_OF_bfcl_eval]

FOLDER holds the data as they are published (BFCL_v4_<category>.json and their answers). With `--published`, where the
package `bfcl-eval` lies unpacked (`pip download --no-deps bfcl-eval` and unzip; its dependencies are not needed), its
checker judges the same answers, item by item, and the exit status is 1 where one verdict differs. (Gold calls in
reverse order stand below the table: the published checker takes the first fit, and refuses some of them.)
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.contract import callforms
from runtime.contract.calls import Call
from runtime.contract.rows import objects
from runtime.contract.strict_json import Json
from runtime.data import bfcl as data
from runtime.data.called import Item, judge
from runtime.suites import bfcl
from tests.unit.runtime.suites.damaged import WAYS

REVERSED = "gold reversed"
Verdict = Callable[[str, str, list[Call]], bool]


def published(folder: Path, where: Path) -> Verdict:
    """(category, id, calls) → what the published checker says."""
    models: Any = types.ModuleType("bfcl_eval.constants.model_config")
    # a model that writes dots in names as they are
    models.MODEL_CONFIG_MAPPING = {"a/model": types.SimpleNamespace(underscore_to_dot=False)}
    sys.modules["bfcl_eval.constants.model_config"] = models
    # converters of Java and JavaScript need a parser that is not here, and no question is in those languages
    for language in ("java", "js"):
        name = f"bfcl_eval.eval_checker.ast_eval.type_convertor.{language}_type_converter"
        module: Any = types.ModuleType(name)
        setattr(module, f"{language}_type_converter", None)
        sys.modules[name] = module
    sys.path.insert(0, str(where))
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # type: ignore[import-not-found]

    asked: dict[tuple[str, str], tuple[Json, Json]] = {}
    for category in data.CATEGORIES:
        answers = folder / f"BFCL_v4_{category}.answers.json"
        beside = folder / "possible_answer" / f"BFCL_v4_{category}.json"
        path = answers if answers.is_file() else beside
        truth = {one["id"]: one["ground_truth"] for _, one in objects(path)} if path.is_file() else {}
        for _, one in objects(folder / f"BFCL_v4_{category}.json"):
            asked[category, str(one["id"])] = (one["function"], truth.get(one["id"], []))

    def verdict(category: str, name: str, made: list[Call]) -> bool:
        if category == data.CONTROLS:
            return not made
        functions, truth = asked[category, name]
        decoded = [{call.name: call.args} for call in made]
        return bool(ast_checker(functions, decoded, truth, Language.PYTHON, category, "a_model")["valid"])

    return verdict


def said(made: list[Call], form: callforms.Form) -> str:
    return callforms.write(made, form) if made else data.NO_CALL


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--published", type=Path)
    given = parser.parse_args()
    oracle = published(given.folder, given.published) if given.published else None
    params = bfcl.BfclParams()
    print(f"{'right of':<20}" + "".join(f"{category:>20}" for category in data.CATEGORIES))
    columns: dict[str, list[Item]] = {c: list(bfcl.items_of(data.rows_of(given.folder, c))) for c in data.CATEGORIES}
    wrong, compared = 0, 0
    for way in ("gold", *WAYS, REVERSED):
        cells = []
        for category, items in columns.items():
            right = count = 0
            for item in items:
                gold = list(item.calls)
                made = gold if way == "gold" else gold[::-1] if way == REVERSED else WAYS[way](item, gold)
                if made is None:
                    continue
                verdict = judge(said(made, "python"), item, params.forms, bfcl.RULES, fits=False)["right"]
                right, count = right + verdict, count + 1
                if oracle is not None:
                    theirs = oracle(category, item.id, made)
                    compared += way != REVERSED
                    wrong += theirs != verdict and way != REVERSED
                    if theirs != verdict:
                        print(f"{way}: {item.id}: here {verdict}, published {theirs}", file=sys.stderr)
            cells.append(f"{right} of {count}" if count else "-")
        print(f"{way:<20}" + "".join(f"{cell:>20}" for cell in cells))
    if oracle is not None:
        print(f"{compared} answers judged by the published checker as well, {wrong} differently")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
