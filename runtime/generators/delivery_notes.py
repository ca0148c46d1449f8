"""A seed → short notes about deliveries, each with one question whose answer stands in the note.

Reading such a note is a job that a small instruct model half knows: it finds most answers without being taught, and
wanders off in the rest. What it knows is worth distilling, what it lacks the rows' own answers teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params
from runtime.contract.units import unit
from runtime.data.drawn import Question, distinct, pick


class DeliveryNotesParams(Params):
    rows: int = Field(
        default=3000,
        ge=10,
        le=100_000,
        description="Distinct pairs of a note and a question to make.",
        examples=[3000],
        json_schema_extra=unit("row"),
    )


#: what fills a note, with commas
NAMES = (
    "Maria, John, Aisha, Peter, Lena, Omar, Sofia, David, Hana, Carlos, Emma, Lucas, Nina, Tom, Grace, Henry, Julia, "
    "Victor, Alice, Frank, Laura, Simon, Clara, Hugo, Diana, Oscar, Rosa, Martin, Eva, Paul, Irene, Jack, Helen, Leo, "
    "Sara, Max, Anna, Felix, Ruth, Adam"
)
CITIES = (
    "Oslo, Paris, Madrid, Tokyo, Cairo, Lima, Vienna, Boston, Dublin, Seoul, Berlin, Rome, Athens, Lisbon, Prague, "
    "Warsaw, Budapest, Helsinki, Stockholm, London, Chicago, Denver, Dallas, Miami, Toronto, Sydney, Mumbai, Delhi, "
    "Nairobi, Havana, Moscow, Geneva, Munich, Hamburg, Milan, Naples, Seattle, Austin, Houston, Portland"
)
DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"
GOODS = (
    "lamps, chairs, books, bottles, keyboards, tents, boxes, tables, bags, shoes, shirts, plates, cups, blankets, "
    "bicycles, clocks, mirrors, ladders, candles, printers, phones, cameras, pillows, towels, pens, maps, helmets, "
    "gloves, hats, coats"
)
NOTES = (
    "{name} ordered {number} {goods}. They go to {city} on {day}.",
    "Please send {number} {goods} to {name} in {city} before {day}.",
    "On {day}, {number} {goods} leave for {city}. {name} will sign for them.",
    "{number} {goods} for {name}, to be delivered in {city} on {day}.",
    "We packed {number} {goods} this morning. {name} expects them in {city} by {day}.",
    "The truck to {city} leaves on {day} with {number} {goods} for {name}.",
    "{name} called from {city}: the {number} {goods} must arrive on {day}.",
    "Reminder for {day}: {name} picks up {number} {goods} at the depot in {city}.",
)
#: what is asked → questions
ASKED: Mapping[str, Sequence[str]] = {
    "city": ("Which city is named in the note?", "Where do the {goods} go?"),
    "day": ("Which day is named in the note?", "On which day of the week is it?"),
    "name": ("Which person is named in the note?", "Who gets the {goods}?"),
    "number": ("How many {goods} are there?", "What is the number of {goods}?"),
    "goods": ("Which goods are named in the note?", "What is delivered?"),
}


def rows(params: DeliveryNotesParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct notes and questions, what is asked in turn. Raises Refusal when there are not that many."""
    rng, asked = Random(seed), list(ASKED)

    def draw(index: int) -> Question:
        kind = asked[index % len(asked)]
        values = {
            "name": pick(rng, NAMES.split(", ")),
            "city": pick(rng, CITIES.split(", ")),
            "day": pick(rng, DAYS.split(", ")),
            "goods": pick(rng, GOODS.split(", ")),
            "number": str(2 + int(rng.random() * 58)),
        }
        prompt = f"{pick(rng, NOTES)}\n{pick(rng, ASKED[kind])}".format(**values)
        return Question(prompt, lambda: values[kind], kind)

    return distinct(params.rows, "delivery_notes", draw)


GENERATOR = Generator(name="delivery_notes", version=1, params=DeliveryNotesParams, rows=rows, spans=frozenset())
