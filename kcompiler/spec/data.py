"""Section `data`: which rows the student learns from and is judged on."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from kcompiler.spec.base import DISTINCT, FORM, ROOM, Distinct, Name, Plugged, Section
from runtime.contract import Refusal
from runtime.contract.formats import TABLES, Form
from runtime.contract.sources import Reader
from runtime.contract.splits import SPLITS, Shares
from runtime.contract.units import unit

Split = Literal["auto", "train", "validation", "test"]
RowField = Literal["id", "prompt", "response", "class", "spans", "messages", "tools", "wanted", "chosen", "rejected"]

_SPLIT = (
    "`auto` holds rows out by a stable hash of the row; a named split takes every row (of `train` but those that "
    "data.validation takes)."
)
_LICENSE = "SPDX expression of the licence; it flows to everything made from these rows."


class FileSource(Section):
    """Rows that stand in a file of the project; one class for each kind of file."""

    name: Name = Field(description="Name of the source; rows remember it.", examples=["gsm8k-train"])
    #: which of the classes below this is
    kind: str
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="File, relative to the spec's folder.",
        examples=["data/gsm8k/train.jsonl"],
    )
    split: Split = Field(default="auto", description=_SPLIT)
    license: str = Field(min_length=1, max_length=200, description=_LICENSE, examples=["MIT"])
    responses: Literal["file", "teacher"] = Field(
        default="file",
        description="Who answers the prompts: the file itself, or the teacher, whose text is then all that is learnt "
        "of these rows (`split: train`).",
        examples=["teacher"],
    )
    fields: dict[RowField, Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=dict,
        description="Row field → field (column) of the file, where the names differ. `prompt` and `response` may be "
        "text with {field} in it. `messages` (and `tools`) in the OpenAI form stand for both; in CSV they are JSON "
        "text. `chosen` and `rejected`, texts or messages, are a preference pair: the student learns to write what is "
        "chosen, and suite `preference` compares; without a prompt it is what both begin with. `wanted` says what is "
        "right beyond the response, for suites of tools. What is not mapped is not read but by its own name; `id`, "
        '`class`, `spans` and `wanted` mapped to "" are not read at all: the file means something else by them.',
        examples=[
            {"prompt": "question", "response": "answer"},
            {"prompt": "{instruction}\n{input}"},
            {"messages": "conversations"},
            {"prompt": "question", "chosen": "better", "rejected": "worse"},
            {"prompt": "question", "response": "answer", "id": ""},
        ],
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Take only so many rows, in file order; 0 takes all.",
        examples=[1000],
        json_schema_extra=unit("row"),
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of a file that is not kept with the spec: it can be planned without, and not applied. Of "
        "a folder it is the tree's digest, which `kcompiler pin` writes.",
        json_schema_extra={FORM: "64 hex digits, the SHA-256 of the file"},
        examples=["ef6ac811ec1bdb12264bae8dcc932bec1c76ca2a98f2fbb7e930b44a4983b804"],
    )
    bytes: int | None = Field(
        default=None, ge=1, description="Size of that file in bytes.", examples=[119746], json_schema_extra=unit("byte")
    )

    @field_validator("fields")
    @classmethod
    def _mappable(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        try:
            Reader("", value, prompts=info.data.get("responses") == "teacher")
        except Refusal as error:
            raise ValueError(f"{error.message.removeprefix('data source `` ')}: {error.action}") from None
        return value

    @property
    def form(self) -> Form:
        """How the file is read."""
        return Form()

    @property
    def folder(self) -> bool:
        """Whether `path` is a folder."""
        return False


class JsonlSource(FileSource):
    """Rows from a JSON Lines file, which may be packed by gzip."""

    kind: Literal["jsonl"] = Field(description="A JSON Lines file, packed by gzip or not.")


class CsvSource(FileSource):
    """Rows from a CSV file (RFC 4180, UTF-8), which may be packed by gzip."""

    kind: Literal["csv"] = Field(description="A CSV file as RFC 4180 has it, in UTF-8, packed by gzip or not.")
    delimiter: Literal[",", ";", "\t", "|"] = Field(
        default=",", description="What stands between two fields of a line.", examples=[";"]
    )
    columns: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Distinct] = Field(
        default_factory=list,
        max_length=1000,
        description="Names of the columns of a file whose first line is a row already. Without them the first line "
        "is the header.",
        examples=[["question", "answer"]],
        json_schema_extra=DISTINCT,
    )

    @property
    def form(self) -> Form:
        return Form("csv", self.delimiter, tuple(self.columns))


class ParquetSource(FileSource):
    """Rows from a Parquet file. Needs `pip install 'kcompiler[parquet]'` where the rows are read."""

    kind: Literal["parquet"] = Field(description="A Parquet file.")

    @property
    def form(self) -> Form:
        return Form("parquet")


class DatasetsSource(FileSource):
    """Rows from a folder. Needs `pip install 'kcompiler[parquet]'` where the rows are read."""

    kind: Literal["datasets"] = Field(
        description="A folder that `save_to_disk` of Hugging Face `datasets` wrote (one split of it), or a folder of "
        "Parquet files of one split. Read as it stands, without that library."
    )
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="Folder, relative to the spec's folder.",
        examples=["data/faq/train"],
    )

    @property
    def form(self) -> Form:
        return Form("datasets")

    @property
    def folder(self) -> bool:
        return True


class GeneratorSource(Plugged):
    """Rows made from the spec's seed."""

    room: ClassVar[str] = "generators"
    key: ClassVar[str] = "generator"
    inline: ClassVar[bool] = False
    pattern: ClassVar[str] = "/data/sources/*"
    noun: ClassVar[str] = "generator"

    name: Name = Field(description="Name of the source; rows remember it.", examples=["answers"])
    kind: Literal["generator"] = Field(description="A generator of the catalog.")
    generator: str = Field(description="Which generator.", json_schema_extra={ROOM: "generators"})
    split: Split = Field(default="auto", description=_SPLIT)
    license: str = Field(min_length=1, max_length=200, description=_LICENSE, examples=["CC0-1.0"])


Source = Annotated[
    JsonlSource | CsvSource | ParquetSource | DatasetsSource | GeneratorSource, Field(discriminator="kind")
]


class Data(Section):
    """Sources, the registry of tools and the supervised spans."""

    sources: list[Source] = Field(min_length=1, max_length=1000, description="Where rows come from, in order.")
    tools: str = Field(
        default="",
        max_length=1000,
        description="JSON file with the registry of tools, relative to the spec's folder.",
        examples=["tools/registry.json"],
    )
    fixtures: str = Field(
        default="",
        max_length=1000,
        description="Folder of what the tools were recorded to answer, which `kcompiler fixtures record` writes: suite "
        "`scenarios` lets a model call tools, and answers it from there.",
        examples=["tools/fixtures"],
    )
    held_out: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Share of `auto` sources' rows kept for testing.",
        examples=[0.2],
        json_schema_extra=unit("1"),
    )
    validation: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the rows to learn from (of `auto` sources what is not held out for testing, and of "
        "`train` sources) that is kept for validation while training: not learnt from, and nothing is judged by them.",
        examples=[0.05],
        json_schema_extra=unit("1"),
    )
    too_long: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="What becomes of a row with more tokens than is read (training.stages[].max_length, "
        "shapes.prefill): the run is refused, or the row is left out and counted. Rows are never cut.",
    )
    too_long_at_most: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="With `too_long: drop`, share of a split's rows that may be left out; more of them fail a gate.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )
    targets: Annotated[list[Name], Distinct] = Field(
        default=["response"],
        min_length=1,
        description="What losses may supervise: `response`, and names of spans that the rows carry.",
        json_schema_extra=DISTINCT,
        examples=[["response", "tool_name"]],
    )

    @property
    def shares(self) -> Shares:
        """How rows are placed into splits."""
        return Shares(self.held_out, self.validation)

    @property
    def fed(self) -> set[str]:
        """The splits that get rows by the words of the spec."""
        declared = {source.split for source in self.sources}
        return {split for split in SPLITS if any(self.shares.share(one, split) > 0 for one in declared)}

    @property
    def backend(self) -> str:
        """The backend of step `data` where it is not the step's own: tables need a library that reads them."""
        return "tables" if any(source.kind in TABLES for source in self.sources) else ""
