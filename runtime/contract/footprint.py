"""Architecture, batch and teacher → bytes that a training takes: one formula for the plan and the measuring run.

Closed formulas over integers. What autograd keeps for the backward pass is counted tensor by tensor from the modules of
Transformers 5.23 (see `families`) and held against autograd's own account (tests/tensor/train/test_memory.py).

Letters in comments: h hidden width, q all query heads, k all key heads, m width of the MLP, T tokens of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.contract import windows
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

FLOAT32 = 4
#: what torch and its kernels take the first time they are used, whatever the model (70 to 110 MB measured on x86)
LIBRARIES = 96_000_000
#: of which this much comes again where a model was trained in the process before: oneDNN keeps a kernel for each number
#: of rows (findings/onednn-keeps-a-kernel-for-every-number-of-rows.sh)
USED_LIBRARIES = 64_000_000
#: what cuBLAS takes on a card for its own work
WORKSPACE = 32 << 20
#: what the C library's heap cannot give out again of the room that activations were in, in parts of them (0.2 to 0.65
#: measured with glibc 2.36; nothing where every tensor is mapped alone, which costs a quarter of the time)
HEAP = 0.6
#: most tokens that go through a teacher at once while its hidden states are computed for all steps
FILL_TOKENS = 8192


def state(parameters: int) -> int:
    """Float32 weights, gradients and both AdamW moments: 16 per parameter (arXiv 1910.02054, section 3)."""
    return 4 * FLOAT32 * parameters


def layer(
    a: Architecture,
    length: int = 0,
    *,
    half: bool = False,
    fused: bool = False,
    row: int = 0,
    windowed: bool = False,
    eager: bool = False,
) -> int:
    """Bytes that one layer keeps of each token for its backward pass.

    llama: of both norms the input, the normalised and the output (6 h), queries and the attention's output (2 q), keys
    and values (2 k), gate, its activation, up and their product (4 m). qwen3 normalises queries and keys too. phi has
    one norm for both branches, and an activation made of single operations. phi3 keeps the whole joined product where
    its values are a part of it. `length`: of packed sequences, whose mask is T numbers of each token, and for which
    keys and values are repeated for every query head; 0: there is no mask.
    `row`: tokens of a sequence; a layer that is `windowed` has a mask where that is longer than its window, and one
    without a fused kernel keeps the scores of each head before and after its softmax.
    `half`: products in 16 bits; norms keep float32, and each product that reads their output has a copy of its own.
    `fused`: a norm is one kernel, which keeps nothing normalised. `eager`: attention is not, whatever the family has.
    """
    h, m = a.hidden_size, a.intermediate_size
    d = a.head_dim or h // a.num_attention_heads
    q, k = a.num_attention_heads * d, a.num_key_value_heads * d
    family = FAMILIES[a.family]
    phi = family.parallel
    # numbers in float32, and in the floats of products
    wide, kept = (0, 3 * h + 2 * q + 2 * k + 5 * m) if phi else (4 * h, 2 * h + 2 * q + 2 * k + 4 * m)
    if half:
        wide, kept = (h if phi else wide), kept + (2 * h if phi else 0 if family.joined else 3 * h)
    if family.normed_heads:
        wide, kept = wide + q + k, kept + q + k
    if half and family.normed_heads and family.offset_norms:
        # these norms compute in float32 whatever they are given
        kept += q + k
    wide += 4 * h * family.sandwiched
    if fused and not phi and not family.offset_norms:
        wide -= 2 * h + (q + k if family.normed_heads else 0)
    hidden = length or (row if windowed and row > (a.sliding_window or row) else 0)
    if family.eager or eager:
        # a cap on scores keeps them before the softmax, too; in 16 bits what it gives is kept twice
        scores = a.num_attention_heads * (row or length)
        wide, kept = wide + (1 + family.eager) * scores, kept + 2 * (q - k) + scores * (half and not family.eager)
    elif hidden:
        kept += hidden + 2 * (q - k)
    elif family.joined:
        kept += q + k
    return FLOAT32 * wide + (FLOAT32 // 2 if half else FLOAT32) * kept


def activations(
    a: Architecture,
    tokens: int,
    *,
    checkpointed: bool = False,
    length: int = 0,
    half: bool = False,
    fused: bool = False,
    row: int = 0,
    eager: bool = False,
) -> int:
    """What is kept for the backward pass of `tokens` positions in rows of `row`. Checkpointed, each layer keeps its
    input, and one at a time the rest (arXiv 1604.06174). Logits are not among them: the loss makes them by chunks.
    """
    full, windowed = (
        layer(a, length, half=half, fused=fused, row=row, windowed=one, eager=eager) for one in (False, True)
    )
    layers, near = a.num_hidden_layers, windows.count(a)
    if checkpointed:
        return tokens * (layers * a.hidden_size * FLOAT32 + (max(full, windowed) if near else full))
    return tokens * ((layers - near) * full + near * windowed)


def chunk_logits(a: Architecture, tokens: int, chunk_tokens: int, models: int) -> int:
    """Logits of one chunk, of the student (their gradient takes their place) and, where a loss reads them, of the
    teacher: one or two `models`. [batch × length × vocabulary] never exists."""
    return min(tokens, chunk_tokens) * a.vocab_size * FLOAT32 * models


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What is known of a teacher, beside the student."""

    #: bytes of its weights as held; of a stored teacher those of its head
    weights: int
    #: bytes that are kept for all steps: hidden states that are looked up, or what is stored
    held: int
    #: numbers of each supervised token that a step has of it
    hidden: int
    #: numbers that it computes of a token in one layer, and tokens that go through it at once before the first step
    layer: int = 0
    asked: int = 0
    #: bytes while its weights are rounded: as they were loaded, and as they are held; 0: they are not
    loaded: int = 0
    #: whether a loss sees its logits over the whole vocabulary
    dense: bool = True


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What terms over layers compare beside the logits: pairs of hidden states, of attention maps, numbers of a state
    of the teacher, and of the matrices that are trained for them."""

    states: int = 0
    maps: int = 0
    width: int = 0
    projected: int = 0

    def parts(self, a: Architecture, tokens: int, length: int, supervised: int) -> dict[str, int]:
        """Bytes beside a step without them. Of a pair of states the student's at the supervised tokens, what the matrix
        makes of them and their difference are kept, and its gradient is as wide as all tokens; of a pair of maps its
        weights of every key, their logarithms and difference, and its gradient."""
        per_state = a.hidden_size + (2 if self.projected else 1) * self.width
        per_map, row = 5, a.num_attention_heads * length
        gradient = tokens * max(a.hidden_size * (self.states > 0), row * (self.maps > 0))
        return {
            "layers": FLOAT32 * (supervised * (self.states * per_state + self.maps * per_map * row) + gradient),
            "projections": state(self.projected),
        }


#: where every term reads logits
NO_LAYERS = Compared()


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training. `tokens` are positions that go through the student at once, `length` those of one sequence,
    `supervised` the tokens among them whose loss is taken. `abreast`: passes that are made of them, each by a thread of
    its own, with logits and a gradient of its own."""

    architecture: Architecture
    parameters: int
    tokens: int
    length: int
    supervised: int
    chunk_tokens: int
    checkpointed: bool
    packed: bool
    taught: Taught | None
    #: whether it is the processor's memory, which has a heap; a card's norms are fused
    host: bool
    libraries: int = LIBRARIES
    abreast: int = 1
    #: whether products are in 16 bits
    half: bool = False
    #: parameters that are rounded for each step, and stand beside themselves
    rounded: int = 0
    compared: Compared = NO_LAYERS

    def parts(self) -> dict[str, int]:
        """What is there at the moment of a step that takes the most."""
        a, taught, embedding = (
            self.architecture,
            self.taught,
            self.architecture.vocab_size * self.architecture.hidden_size,
        )
        models = 1 + (taught is not None and taught.dense)
        each = chunk_logits(a, -(-self.supervised // self.abreast), self.chunk_tokens, models)
        found = {
            "student": state(self.parameters),
            # the sum of those that are done, beside one of each thread
            "further_gradients": self.parameters * FLOAT32 * self.abreast * (self.abreast > 1),
            # embedding and head write a gradient each, also where they are one tensor
            "embedding_gradient": embedding * FLOAT32 * a.tie_word_embeddings * self.abreast,
            "rounded": self.rounded * FLOAT32,
            # weights in the floats of products, made once for each pass
            "casts": (self.parameters - embedding) * FLOAT32 // 2 * self.half,
            "activations": activations(
                a,
                self.tokens,
                checkpointed=self.checkpointed,
                length=self.length * self.packed,
                row=self.length,
                half=self.half,
                fused=not self.host,
                eager=self.compared.maps > 0,
            ),
            **self.compared.parts(a, self.tokens, self.length, self.supervised),
            # on its way back through one layer a gradient is as wide as what it is of
            "layer_gradient": self.tokens * FLOAT32 * (3 * a.intermediate_size // (1 + self.half) + 2 * a.hidden_size),
            "logits": each * self.abreast,
            # of the student, gathered from its output, and their gradient
            "hidden": 2 * self.supervised * a.hidden_size * FLOAT32,
            "teacher": 0,
            "libraries": self.libraries if self.host else WORKSPACE,
        }
        # each thread has a heap of its own
        found["heap"] = round(HEAP * (found["activations"] + found["layer_gradient"])) * self.host * self.abreast
        if taught is not None:
            found["teacher"] = taught.weights + taught.held + self.supervised * taught.hidden * FLOAT32
        return found

    def peak(self) -> int:
        """The most that is there at one time: in a step, or before the first, while the teacher is asked."""
        step, taught = sum(self.parts().values()), self.taught
        if taught is None:
            return step
        asked = taught.weights + taught.held + taught.asked * taught.layer * FLOAT32
        before = self.parts()["libraries"] + self.parameters * FLOAT32
        return max(step, before + max(asked, taught.loaded))
