"""What the machine promises: artifact kinds and the constants plug-ins export.

No tensors, no clock, no environment. Every plug-in room holds one file per thing, found by file name, and each file
exports exactly one of the constants below (`STEP`, `LOSS`, `SUITE`, `TEACHER`, `GENERATOR`, `BACKEND`, `EXECUTOR`,
`RUNNER`).

Exceptions (all derive from `MachineError`):

    MachineError
    ├── Refusal            somebody's input is wrong: code, message, place, action. Never a traceback
    ├── Unavailable        something cannot be had on this machine (a toolchain, a platform)
    └── BrokenEvidence     a stored artifact, report or journal line is not what was written
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from runtime.contract.conversation import Prompt, Reply
    from runtime.contract.layers import Layers
    from runtime.contract.peak import Peak
    from runtime.contract.placing import Tolerance


class MachineError(Exception):
    """Root of everything the machine raises on purpose."""


class Refusal(MachineError):
    """Input that cannot be accepted. `place` is `file[:line[:column]]`, relative to the project root."""

    def __init__(self, message: str, *, place: str = "", action: str = "", code: str = "KR0001") -> None:
        super().__init__(message)
        self.message, self.place, self.action, self.code = message, place, action, code


class Unavailable(MachineError):
    """A toolchain or platform this machine does not have; `needs` says what would supply it."""

    def __init__(self, message: str, *, needs: str = "") -> None:
        super().__init__(message)
        self.message, self.needs = message, needs


class BrokenEvidence(MachineError):
    """Stored bytes differ from what the journal acknowledged; `subject` names the file or line."""

    def __init__(self, message: str, *, subject: str) -> None:
        super().__init__(message)
        self.message, self.subject = message, subject


class Stopped(BaseException):
    """Unwinds a step at a safe point because a stop was asked for, or a budget is used up. Not an Exception: an
    operation may catch it to keep what was done, and raises it again."""


class Params(BaseModel):
    """Base of every parameter model: unknown keys refused, immutable, no coercion of strings to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Unkeyed:
    """See UNKEYED."""


#: Marks a parameter without effect on the result (how often to save, how fast to ask, what it may cost):
#: `checkpoint_every: Annotated[int, UNKEYED] = 100`. The lock shows it and its change runs nothing again: it is in no
#: key, and a run that was stopped goes on with the new value. Only for fields of the step's own model.
UNKEYED = _Unkeyed()


def unkeyed(params: type[BaseModel]) -> list[str]:
    """Names of the parameters that are marked as without effect on the result, sorted."""
    return sorted(name for name, field in params.model_fields.items() if UNKEYED in field.metadata)


#: Every artifact is a folder. The text says what stands in it; two artifacts are joinable when their kinds are equal.
KINDS: Mapping[str, str] = {
    "file": "one file of the project, pinned by its SHA-256 (only as an input)",
    "rows_folder": "a folder of rows in Parquet or Arrow, pinned by its tree digest (only as an input)",
    "fixtures_folder": "a folder of what tools were recorded to answer, pinned by its tree digest (only as an input)",
    "hf_folder": "a Transformers folder: one of the project, pinned by its tree digest, or a fetched one",
    "dataset": "<split>.jsonl of dataset rows, tools.json when a registry is declared, fixtures/ when they are "
    "answered from recordings, manifest.json",
    "tokenizer": "tokenizer.json, tokenizer_config.json, contract.json (special ids, template, vocabulary width), "
    "chat_template.jinja; with `template: chat` chat.json (template, system message, generation prompt, stop tokens)",
    "answers": "answers.jsonl (one line per row of the training split that has a usable answer) and manifest.json",
    "checkpoint": "config.json, model.safetensors, training.json (what made it)",
    "migration": "migration.json: both tokenizers by digest, where each new row comes from, which old ones are gone, "
    "and texts as both cut them",
    "signals": "signals.json (what is stored, of which teacher, and the digest of each file), rows.safetensors (which "
    "tokens of which rows), shard-<number>.safetensors (what the teacher says at each), with form `hidden` "
    "head.safetensors",
    "stored": "stored.safetensors: matrices in the form in which the package stores them, where calibration chose it",
    "program": "contract.json and <function>.pt2, one torch ExportedProgram per function (of each chunk)",
    "goldens": "goldens.json and goldens.safetensors: inputs and float32 outputs of the checkpoint",
    "package": "contract.json, fp16.mlpackage and quantized.mlpackage, or <variant>.<part>.mlpackage of several parts",
    "float32": "float32.mlpackage: the converted program before it is narrowed, for the comparison with the checkpoint",
    "states": "step-<number>: each as a checkpoint, with which the training went on; milestones and the last ones",
    "items": "items.jsonl: one line per runner and row that a suite judged: the digest of what was asked, the output, "
    "what that is worth in parts, and the reason where it is not right",
    "shard": "items.jsonl: the lines of some of the lots, before all are one; judge.json: which model behind a server "
    "has compared them",
    "times": "times.jsonl: how many seconds each lot took, by runner",
    "onnx": "contract.json, <function>.onnx, one per function, and weights.bin, which they share",
    "gguf": "model.gguf (the checkpoint as llama.cpp reads it), words.json (by which rule llama.cpp gives the "
    "tokenizer's own ids for a text, if by any), and a Modelfile where the chat template has a form in Ollama's",
    "report": "report.json in the common envelope (runtime/contract/report.py)",
}

#: what differs whenever a step is carried out again: no repetition is compared by it
UNCOMPARED = frozenset({"times"})
#: how the work was divided, and how long it took: no report is about it
ASIDE = UNCOMPARED | {"shard"}


@dataclass(frozen=True, kw_only=True)
class Port:
    """One thing a step takes or gives. `report` names the report kind when `kind` is "report"."""

    kind: str
    report: str = ""
    optional: bool = False


Ports = Mapping[str, Port]


#: what operations count beside time: tokens of rows that a training step saw, tokens that a hosted teacher was sent and
#: answered with
Used = Literal["training_tokens", "teacher_tokens"]


class Context(Protocol):
    """Everything a step may use besides its takes and params."""

    step_id: str
    seed: int
    #: survives a kill; the same step with the same key finds it again. Not part of any result.
    scratch: Path
    #: survives everything and is shared by all steps, runs and specs of the project: what was paid for. Not part of
    #: any result
    paid: Path
    #: port name → "sha256:…" of what is taken
    digests: Mapping[str, str]
    #: distribution → version, as installed here
    versions: Mapping[str, str]

    def out(self, port: str) -> Path:
        """The empty folder whose content becomes the artifact of `port`."""

    def say(self, message: str) -> None:
        """One plain line for the person watching."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """How far the step is; cheap, may be called often. A safe point: may raise Stopped."""

    def shows(self, at: int, numbers: Mapping[str, float]) -> None:
        """What was measured after so much work, for whoever looks on: name → number. In no record and no result."""

    def kept(self, done: int) -> None:
        """So much of the step's work is durable in `scratch`, and an attempt after a kill goes on from there. An
        attempt that goes on says so first, before any progress; 0 where nothing it found could be used."""

    def used(self, what: Used, amount: int) -> None:
        """So much of `what` was used up, whether or not its fruit is kept: the machine counts it over all attempts."""

    def underway(self, what: Used, amount: int) -> None:
        """At most so much of `what` is being used just now, and not yet said to be used up: an attempt that is killed
        counts it."""

    def measures(self, peak: Callable[[], Peak]) -> None:
        """How to learn what this attempt has taken of memory so far; asked now and then, from another thread, so that
        it is known of an attempt that is killed, too."""

    def report(
        self,
        port: str,
        data: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, str],
        environment: Mapping[str, Any] = ...,
    ) -> None:
        """Write report.json for a report port: `data` inside the common envelope, whose environment says what is given
        here besides."""

    def perform(self, takes: Mapping[str, Path], params: Any) -> None:
        """Hand the step to its backend's operation of the same name."""


def _no_plugs(params: Any) -> Sequence[tuple[str, str]]:
    return ()


def _no_code(params: Any) -> Sequence[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction of the machine.

    `takes` and `gives` may depend on the params (a function of them). `run` is pure: it reads `takes`, fills
    `ctx.out(port)` for each port it gives, and uses nothing else. `code` lists the modules (packages: recursively)
    whose text decides the result, `plugs` the other plug-ins that the params name, as (room, name); the digest of them
    all is part of the step's key.
    """

    name: str
    version: int
    params: type[Params]
    takes: Ports | Callable[[Any], Ports]
    gives: Ports | Callable[[Any], Ports]
    backend: str
    run: Callable[[Mapping[str, Path], Any, Context], None]
    code: Sequence[str] = ()
    #: modules besides, which decide the result under some params alone
    code_under: Callable[[Any], Sequence[str]] = _no_code
    plugs: Callable[[Any], Sequence[tuple[str, str]]] = _no_plugs
    #: what reproduction means here: "bitwise" (the same bytes on a machine of the same words), "statistical" (figures
    #: within `tolerance`), or "none"
    promise: str | Callable[[Any], str] = "bitwise"
    #: of a step that may promise "statistical"
    tolerance: Tolerance | Callable[[Any], Tolerance | None] | None = None
    #: what it gives are times: they hold on this very machine alone, and are asked again on any other
    timed: bool = False
    #: "module:function" that makes the data of its report again from (takes, params), for who audits it; "" of a report
    #: that takes more than that
    again: str = ""
    #: what takes less memory, said where there is not enough of it
    lighter: str = "take smaller models or fewer rows"

    def takes_of(self, params: Any) -> Ports:
        return self.takes(params) if callable(self.takes) else self.takes

    def gives_of(self, params: Any) -> Ports:
        return self.gives(params) if callable(self.gives) else self.gives

    def promise_of(self, params: Any) -> str:
        return self.promise(params) if callable(self.promise) else self.promise

    def tolerance_of(self, params: Any) -> Tolerance | None:
        """What stands beside a statistical promise; None beside any other."""
        if self.promise_of(params) != "statistical":
            return None
        return self.tolerance(params) if callable(self.tolerance) else self.tolerance


@dataclass(frozen=True, kw_only=True)
class OfTop:
    """How a loss reads a teacher of which the likeliest tokens and the mass of all others are known.

    `value` and `gradient` are those of `Loss` with a `runtime.contract.objective.Top` in the place of the teacher's
    logits; `semantics` go into the lock instead of the loss's own. `temperatures(params)` are those at which the mass
    of the others is read: it cannot be computed from their mass at 1.
    """

    value: Callable[[Any, Any, Any, Any], Any]
    semantics: Mapping[str, Any]
    temperatures: Callable[[Any], Sequence[float]]
    gradient: Callable[[Any, Any, Any, Any], tuple[Any, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A parameter of a loss that a spec may leave to what is measured of the teacher before the first step.

    `may_become(params)` are the parameters among which is chosen, more than one where something is left open;
    `choose(params, mass)` is the one that the mean mass of the teacher's `tokens(params)` likeliest tokens at
    `temperature(params)` decides.
    """

    parameter: str
    tokens: Callable[[Any], int]
    temperature: Callable[[Any], float]
    may_become: Callable[[Any], Sequence[Any]]
    choose: Callable[[Any, float], Any]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One term of the objective.

    `value(student_NV, teacher_NV, target_N, params)` returns per-token loss_N in nats. N runs over the supervised
    tokens of `mask` only; V is the vocabulary; `teacher_NV` holds the teacher's logits when they are among `needs`, for
    "choices" log-probabilities at the choices of the row and -inf elsewhere, else it is None. A loss with `layers` is
    given hidden states or attention maps in their places. Written with
    the methods of the tensors it receives, so that a loss imports no tensor library. Every semantic choice
    (direction, T², denominator, tail) is in `semantics`, which goes into the lock. What it promises below is tried
    before anything is trained (step `reach`).
    """

    name: str
    version: int
    params: type[Params]
    #: teacher signals: subset of {"text", "choices", "logits", "states", "attention"}
    needs: frozenset[str]
    #: which supervised tokens: "response", a span name of the dataset rows ("tool_name", "json_args", …), or one of
    #: `runtime.contract.conditions.MASKS`
    mask: str
    value: Callable[..., Any]
    semantics: Mapping[str, Any]
    #: facts of a row that it reads beside its tokens, of `runtime.contract.conditions.FACTS`: `value` and `gradient`
    #: then take `facts` as well, which maps each to its numbers at the N tokens
    facts: frozenset[str] = frozenset()
    #: zero, and flat, when student and teacher agree, and never below
    divergence: bool = False
    #: unchanged by a constant that is added to all logits of a token, as everything about distributions is
    shift_invariant: bool = True
    #: its gradient is the derivative of its value; False where it holds a part constant on purpose
    derivative: bool = True
    #: `value` together with its gradient with respect to the student's logits in closed form: (loss_N, gradient_NV);
    #: where there is none, the gradient is derived
    gradient: Callable[..., tuple[Any, Any]] | None = None
    #: how it reads a teacher that is stored as its likeliest tokens; None: it needs all logits
    top: OfTop | None = None
    #: what of its parameters may be left to what is measured
    settled: Settled | None = None
    #: for who chooses among losses: where it does harm, and whose it is (paper or program)
    hurts: str = ""
    source: str = ""
    #: which layers of both models it compares instead of their logits; None: it reads logits
    layers: Layers | None = None
    #: which head of the student it trains instead of the one for words (`runtime.contract.heads`): it is then given
    #: logits_N2 of no and yes, and targets that are 1 where the head is to say yes
    head: str = ""


@dataclass(frozen=True, kw_only=True)
class TokenScore:
    """Sum of natural-log probabilities of a response's tokens (end token included) and how many they are."""

    log_probability: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """A greedy answer: its text without the end token, and every token that was chosen, the end token too."""

    text: str
    ids: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A greedy answer's text, and whether it was cut: no token ended it before `max_new_tokens` or the context did."""

    text: str
    cut: bool


class Runner(Protocol):
    """A model that a suite may question: a checkpoint in torch, or a saved CoreML package through the interpreter."""

    name: str

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Greedy continuation of each prompt's template, without the end token."""

    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        """The same, with whether an answer was cut."""

    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        """The same, with the tokens that were chosen."""

    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Logit of each of `tokens` after the prompt and so much of an answer, read as `write` reads it."""

    def spell(self, token: int) -> str:
        """One token as it stands within a text."""

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """log p(response | prompt) of each (prompt, response)."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One evaluation suite: rows × runners → items, one line each → the `data` of a report of kind `eval.<name>`.

    Plain Python without tensors: the auditor makes the data again. Rows are dataset rows of one split, a runner's name
    is "teacher", "student", one of its `baselines` or "coreml", `tools` is the tool registry or an empty list. A line
    has the form of `runtime.contract.items`; what it says but for its output follows from the output and the rows.
    """

    name: str
    version: int
    params: type[Params]
    #: what it asks of a runner: methods of `Runner`
    asks: frozenset[str] = frozenset({"generate"})
    #: runner names without which the suite cannot answer
    runners: Sequence[str]
    #: (rows, runner's name, params) → which of the rows this runner is asked, in their order
    select: Callable[[Sequence[Mapping[str, Any]], str, Any], Sequence[Mapping[str, Any]]]
    #: (runner's name, runner, rows, tools, params, seed) → a line for each of the rows, which are a lot of those that
    #: were selected: what stands in it depends on no other row
    ask: Callable[[str, Runner, Sequence[Mapping[str, Any]], Sequence[Any], Any, int], Sequence[Mapping[str, Any]]]
    #: (lines, rows, tools, params, seed) → the data, of the lines of all runners, each in the order of its rows. Judges
    #: the outputs again and raises ValueError for a line that is not what its output gives; Refusal for rows that
    #: cannot be judged
    data_of: Callable[
        [Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], Sequence[Any], Any, int], dict[str, Any]
    ]
    #: (runners, rows, runner's name → its lines of these rows, policy of `zoo` → its outputs for them, params) → the
    #: same lines, completed by what one runner says of another's answer; asked lot by lot once every runner has
    #: answered. All are then asked the same rows
    compare: (
        Callable[
            [
                Mapping[str, Runner],
                Sequence[Mapping[str, Any]],
                Mapping[str, Sequence[Mapping[str, Any]]],
                Mapping[str, Sequence[Any]],
                Any,
            ],
            Mapping[str, Sequence[Mapping[str, Any]]],
        ]
        | None
    ) = None
    #: (lines, rows, tools, params) → the same lines, completed by what only all rows together tell
    complete: (
        Callable[
            [Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], Sequence[Any], Any], Sequence[Mapping[str, Any]]
        ]
        | None
    ) = None
    #: (rows, tools, params) → policy that understands nothing → its output for each row that a runner in torch is
    #: asked, as it stands in a line; "copy_gold" among them has the rows' own answers. Its data hold `zoo`, which
    #: `runtime.contract.zoo` makes of them; where a judge says what is right, `compare` puts them before it. None where
    #: not a row says what is right, but another model: `data_of` then makes them of its lines
    zoo: Callable[[Sequence[Mapping[str, Any]], Sequence[Any], Any], Mapping[str, Sequence[Any]]] | None = None
    #: how bad a line is, for whoever reads the worst of those that are as right or wrong; None: all are alike
    cost: Callable[[Mapping[str, Any]], float] | None = None
    #: the responses its rows may have, under these params; None: any
    permits: Callable[[Any], Sequence[str]] | None = None
    #: the replies that it asks how likely they are, under these params, at a row that is answered by one of them; None:
    #: texts of any length
    replies: Callable[[Any], Sequence[str]] | None = None
    #: runners that it needs besides, where a student was trained
    trained: Sequence[str] = ()
    #: students trained for comparison that it questions, where the spec has them trained
    baselines: Sequence[str] = ("ce_only",)
    #: why a row with this response cannot be judged under these params, or ""; asked at validate
    unfit: Callable[[Any, str], str] | None = None
    #: (row, tools, params) → why what a row declares to be right cannot be judged, or ""; asked at validate
    misfit: Callable[[Mapping[str, Any], Sequence[Any], Any], str] | None = None
    #: its rows are preference pairs: of each the answer that was chosen, and `rejected`
    pairs: bool = False
    #: it judges calls by rules of its own: a benchmark calls answers right that do not fit the schemas beside them
    own_rules: bool = False
    #: params → the runners whose answers the judge of the spec compares: `compare` is given it as runner "judge", and
    #: no rule about the report passes unless the rules about the judge do. None: no judge is asked
    judge: Callable[[Any], Sequence[str]] | None = None
    #: its rows are scenarios: models call tools, and are answered from the fixtures beside them
    answered: bool = False
    #: places of its data (`*`: any name) that are the same within a tolerance when it is asked again on an accelerator
    figures: Sequence[str] = ()


#: what a runner may be asked: the methods of `Runner`
METHODS = ("generate", "say", "write", "weigh", "spell", "score")


@dataclass(frozen=True, kw_only=True)
class RunnerKind:
    """One way in which an evaluated model answers: what it answers with, what it can be asked, and what opens it.

    `opens` is "module:function", imported when a model is asked and never before: `open(asked)` takes a
    `runtime.contract.asked.Asked` and returns a `Runner`. It raises Unavailable where this machine cannot do it.
    """

    name: str
    version: int
    params: type[Params]
    opens: str
    #: which methods of `Runner` it has
    can: frozenset[str]
    #: the backend whose pins and extra it needs
    backend: str
    #: which of its parameters lets it score, where it is not 0
    scores_by: str = ""
    #: kind of the artifact of the plan that it answers with: "checkpoint", "package" or "gguf"; "" where it never does
    takes: str = ""
    #: which of its parameters names a file or folder of the project that is asked instead, and what that is
    place: str = ""
    place_kind: str = "file"
    #: which of its parameters is the address that is asked
    address: str = ""
    #: whether asking again gives the same bytes
    repeatable: bool = True
    #: runs of tensors, which may be on a device
    on_device: bool = False
    #: computes no answer of a model: all that is made with it is marked as forged, so that no gate can pass on it
    forges: bool = False

    def able(self, params: Any) -> frozenset[str]:
        """Which methods of `Runner` it has under these parameters."""
        return self.can | ({"score"} if self.scores_by and getattr(params, self.scores_by) else set())

    def placed(self, params: Any) -> str:
        """The file or folder that it is told to ask, "" where it asks a model of the plan, or an address."""
        return str(getattr(params, self.place) or "") if self.place else ""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Where a teacher comes from: `step` makes its checkpoint or its answers, `signals` is what it can give.

    Signals: `text` (an answer), `choices` (log-probabilities of a row's permitted answers), `logits` (all of them),
    `states` (hidden states of its layers), `attention` (its attention maps).
    """

    name: str
    version: int
    params: type[Params]
    signals: frozenset[str]
    step: str
    #: what it gives under these params; None: all of `signals`
    gives: Callable[[Any], frozenset[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Makes dataset rows from a seed: `rows(params, tools, seed)` yields row dicts without `split`."""

    name: str
    version: int
    params: type[Params]
    rows: Callable[[Any, Sequence[Any], int], list[dict[str, Any]]]
    #: names of the spans its rows carry; None when it does not say
    spans: frozenset[str] | None = None
    #: why it cannot work over these tools, or ""; asked at validate, so that nothing is begun in vain
    unfit: Callable[[Sequence[Any]], str] | None = None
    #: words of its longest row under these params, no two of which are one token; None: it does not say. Asked at
    #: validate
    words: Callable[[Any], int] | None = None


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A toolchain that carries out steps.

    `operations` maps a step's name to "module:function" with the signature of `Step.run`; the module is imported
    when the step runs, never before. `requires` pins each distribution exactly; apply refuses another version.
    A step of a backend that requires nothing needs no operation there: it may do all its work in its own `run`.
    A backend that `forges` computes nothing and marks every report, so that no gate can pass on it.
    """

    name: str
    version: int
    operations: Mapping[str, str] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    #: "module:function", device name → the words for it that enter keys; it raises Refusal where there is none such
    devices: str = ""
    #: which extra of this distribution installs what it requires
    extra: str = "run"
    forges: bool = False


@dataclass(frozen=True, kw_only=True)
class Executor:
    """A place where steps run: `execute(call)` runs one prepared call to its end or raises."""

    name: str
    version: int
    execute: Callable[[Callable[[], None]], None]


ENTRY_POINT_GROUPS: Mapping[str, str] = {
    "steps": "STEP",
    "losses": "LOSS",
    "suites": "SUITE",
    "teachers": "TEACHER",
    "generators": "GENERATOR",
    "backends": "BACKEND",
    "executors": "EXECUTOR",
    "runners": "RUNNER",
}
