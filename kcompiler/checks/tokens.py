"""Vocabulary, control tokens and template: do they fit each other, and the teacher's tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts.teacher import IN_TEXT, Folder, folder_at, foreign, of_teacher, tokenizer_folder
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.templates import CONFIG, DATE, FILE, KEY
from runtime.contract.weights import Weights

_BYTES = 256


def _template(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    text = spec.tokenizer.template
    if spec.tokenizer.chat:
        return
    prompts, responses = text.count("{prompt}"), text.count("{response}")
    if prompts != 1 or responses != 1:
        label = f"{{prompt}} stands {prompts} times, {{response}} {responses} times"
    elif text.index("{prompt}") > text.index("{response}"):
        label = "{response} stands before {prompt}"
    elif not text.endswith("{response}"):
        ends = text.rstrip("\n").endswith("{response}")
        label = "a line end follows {response}: write the block with `|-`" if ends else "text follows {response}"
    else:
        return
    yield tree.diagnostic(
        "KC4301",
        "/tokenizer/template",
        "the template must hold {prompt} once and end with {response}, once",
        label=label,
        help='for example "{prompt}\\n{response}"; the end token closes every response'
        + ("" if spec.tokenizer.source == "train" else ". Or write `chat` for the template that the tokenizer brings"),
    )


def _chat(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The tokenizer's own template must be there, and what is only said to one is read by no other."""
    tokenizer, who = spec.tokenizer, spec.tokenizer.source
    if not tokenizer.chat:
        for name, default in (("system", ""), ("date", DATE)):
            if getattr(tokenizer, name) != default:
                yield tree.diagnostic(
                    "KC4551",
                    f"/tokenizer/{name}",
                    f"`{name}` is read by a chat template, and this template is the spec's own",
                    label="nothing reads it",
                    help=f"write `template: chat`, or remove `{name}`"
                    + (" and put its text into the template" if name == "system" else ""),
                )
        return
    why = _without_template(spec, world)
    if why:
        yield tree.diagnostic(
            "KC4550",
            "/tokenizer/template",
            "there is no chat template to take",
            label=why,
            help="write the template as text with {prompt} and {response}, or take the chat variant of this model",
            related=(tree.related("/tokenizer/source", f"`source: {who}`"),),
        )


def _without_template(spec: Spec, world: World) -> str:
    """Why no chat template comes with the tokenizer; "" when one does, or when it is not here to be read."""
    who = spec.tokenizer.source
    if who == "train":
        return "a tokenizer that is trained here has none"
    folder = tokenizer_folder(spec, world)
    try:
        lacking = folder is not None and folder.chat_template is None
    except ValueError as error:
        return str(error)
    if not lacking or folder is None:
        return ""
    packed = f"the {who}'s GGUF file has none"
    return packed if folder.packed else f"the {who}'s folder has neither {FILE} nor `{KEY}` in {CONFIG}"


def _escapes(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """In single quotes, and without any, a backslash and an n stay two letters."""
    for written, meant in (("\\n", "a line end"), ("\\t", "a tab")):
        if written in spec.tokenizer.template:
            yield tree.diagnostic(
                "KC4316",
                "/tokenizer/template",
                f"the template holds a backslash and a letter, not {meant}",
                severity="warning",
                label=f"`{written}` as two letters, in every row",
                help=f"write it in double quotes, where `{written}` is {meant}",
            )


def _marks(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """The template's text is encoded with its control tokens. The end token may stand in it: chats close turns.

    So may the beginning token of a tokenizer that comes with weights, after the start: ChatML opens turns with it.
    """
    special, template = spec.tokenizer.special, spec.tokenizer.template
    again = template.startswith(special.bos) if spec.tokenizer.source != "train" else special.bos in template
    for text, misplaced, why in (
        (special.bos, again, "every sequence already begins with it"),
        (special.pad, special.pad in template, "it marks what is no text, and is masked"),
    ):
        if misplaced and (text != special.eos or template.startswith(text)):
            yield tree.diagnostic(
                "KC4309",
                "/tokenizer/template",
                "the template holds a control token that is not its to place",
                label=f"`{text}`: {why}",
                help=f"remove `{text}` from the template",
            )


def _distinct(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A tokenizer that is trained here gives each its own token. One that comes with weights may use one for two: what
    is padded is masked by length, and a text may end with the token it begins with (GPT-2)."""
    special = spec.tokenizer.special
    used: dict[str, str] = {}
    named = [(f"/tokenizer/special/{name}", text) for name, text in special.model_dump().items()]
    if spec.tokenizer.source != "train":
        named = [(pointer, text) for i, (pointer, text) in enumerate(named) if text not in [t for _, t in named[:i]]]
    tags = [(f"/tokenizer/single_token_tags/{i}", text) for i, text in enumerate(spec.tokenizer.single_token_tags)]
    for pointer, text in named + tags:
        if text in used:
            first = used[text]
            yield tree.diagnostic(
                "KC4305",
                pointer,
                "two control tokens or tags have the same text",
                label=f"`{text}` again",
                help="give each its own text",
                related=(tree.related(first, "the first"),),
            )
        used.setdefault(text, pointer)


def _room(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A trained vocabulary holds every byte, the control tokens and the tags, before it learns anything."""
    controls, tags = len(spec.tokenizer.special.model_dump()), len(spec.tokenizer.single_token_tags)
    least = _BYTES + controls + tags
    if spec.tokenizer.source == "train" and spec.tokenizer.vocab_size < least:
        yield tree.diagnostic(
            "KC4307",
            "/tokenizer/vocab_size",
            "the vocabulary has no room for its fixed tokens",
            label=f"{spec.tokenizer.vocab_size} ids, {least} are taken",
            detail=f"{_BYTES} bytes + {controls} control tokens + {tags} tags = {least}",
            help=f"raise it to at least {least}, or remove tags",
        )


def _added(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for key in ("added", "expand"):
        if spec.tokenizer.source == "train" and getattr(spec.tokenizer, key):
            yield tree.diagnostic(
                "KC4308",
                f"/tokenizer/{key}",
                "a tokenizer that is trained here has every control token",
                label="nothing is lacking",
                help="remove the key; it is for tokenizers that come with weights"
                + ("; write the texts under single_token_tags" if key == "expand" else ""),
            )


def _width(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for who, pointer, weights in _weights(spec):
        # a teacher of another tokenizer is told as such: no width would make them one
        if who == "teacher" and (_reduced(spec) or foreign(spec, world) is not None):
            continue
        if who == "student" and spec.student.migrate is not None:
            continue
        folder = folder_at(weights, world)
        width = folder.number("vocab_size") if folder else None
        if width is not None and width != spec.tokenizer.vocab_size:
            yield tree.diagnostic(
                "KC4302",
                "/tokenizer/vocab_size",
                f"the vocabulary does not have the {who}'s width",
                label=f"{spec.tokenizer.vocab_size}, the {who} answers with {width} logits",
                help=_narrower(spec, world, width)
                if spec.tokenizer.expand and width < spec.tokenizer.vocab_size
                else f"write {width}, or take another {who}",
                related=(tree.related(pointer, f"its config.json says vocab_size {width}"),),
            )


def _narrower(spec: Spec, world: World, width: int) -> str:
    """What to do about a vocabulary that was expanded beyond the rows of weights that are here: a student is given
    more, a teacher has no logits for them, and could not read their ids."""
    tokenizer, migrated = spec.tokenizer, spec.student.migrate is not None
    beside = of_teacher(spec) is not None
    if tokenizer.source == "student" and not migrated and not beside:
        return "write `student.migrate`, which gives the weights rows for them"
    folder = tokenizer_folder(spec, world)
    ids = {**_vocabulary(folder)[0], **_vocabulary(folder)[1]} if folder is not None else {}
    room = width - max(ids.values(), default=width - 1) - 1
    if room >= len(tokenizer.expand):
        return f"write {width}, which has unused rows for them"
    tags = " with its texts under `single_token_tags`" if {*tokenizer.expand} & {*tokenizer.single_token_tags} else ""
    gone = f"remove `expand`{tags}" + " and `student.migrate`" * migrated
    fewer = f"expand by {room} at most" if room > 0 else gone
    without = f"{fewer}, and write `vocab_size: {width}`"
    if tokenizer.source != "student" or not beside:
        return without
    wide = f"`vocab_size: {max(ids.values(), default=width - 1) + 1 + len(tokenizer.expand)}`"
    lacking = [] if tokenizer.vocab_size > width and migrated else [f"write {wide} and `student.migrate`"]
    return "; or ".join([", ".join([IN_TEXT, "learn from its answers (`sequence_kd`)", *lacking]), without])


def _reduced(spec: Spec) -> bool:
    """Whether the teacher's ids are reduced to those that are used; `cuts` says whether they can be."""
    return spec.student.cut is not None and spec.student.cut.vocabulary is not None


def _weights(spec: Spec) -> Iterator[tuple[str, str, Weights | None]]:
    yield "teacher", "/teacher/model", of_teacher(spec)
    yield "student", "/student/checkpoint/model", spec.student.checkpoint


def _taken(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    who = spec.tokenizer.source
    if who == "train":
        return
    weights, pointer = next((weights, pointer) for name, pointer, weights in _weights(spec) if name == who)
    if weights is None:
        if who == "teacher":
            yield tree.diagnostic(
                "KC4304",
                "/tokenizer/source",
                f"a teacher of source `{spec.teacher.source}` brings no tokenizer",
                label="there is none to take",
                help="write `source: train`",
                related=(tree.related("/teacher/source", "this teacher"),),
            )
        return
    folder = folder_at(weights, world)
    if folder is None:
        return
    if not folder.has("tokenizer.json"):
        yield tree.diagnostic(
            "KC4304",
            "/tokenizer/source",
            f"the {who}'s folder has no tokenizer.json",
            label="there is none to take",
            help="take the tokenizer.json that its authors publish beside tokenizer.model; one that Transformers 5 "
            "converts gives other ids"
            if folder.has("tokenizer.model")
            else "take the tokenizer.json that belongs to these weights",
            related=(tree.related(pointer, "this folder"),),
        )
        return
    vocabulary, added = _vocabulary(folder)
    if not vocabulary:
        yield tree.diagnostic(
            "KC4303",
            "/tokenizer/source",
            f"the {who}'s tokenizer.json cannot be used",
            label="no vocabulary in it",
            help="save it again with the tokenizers library",
        )
        return
    yield from _one_truth(tree, pointer, folder, vocabulary, added)
    yield from _ends(spec, tree, folder, {**vocabulary, **added})
    if not (who == "teacher" and _reduced(spec)):
        yield from _ids(spec, tree, world, {**vocabulary, **added})
    yield from _known(spec, tree, vocabulary, added)


def _vocabulary(folder: Folder) -> tuple[dict[str, int], dict[str, int]]:
    """Token → id of the model, and of the tokens added to it."""
    model, listed = folder.tokenizer.get("model"), folder.tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # Unigram: [text, score] in the order of ids
        texts = [item[0] for item in vocabulary if isinstance(item, list) and item]
        vocabulary = {text: i for i, text in enumerate(texts) if isinstance(text, str)}
    found = {t: i for t, i in vocabulary.items() if isinstance(i, int)} if isinstance(vocabulary, dict) else {}
    added: dict[str, int] = {}
    for item in listed if isinstance(listed, list) else []:
        text, number = (item.get("content"), item.get("id")) if isinstance(item, dict) else (None, None)
        if isinstance(text, str) and isinstance(number, int):
            added[text] = number
    return found, added


def _one_truth(
    tree: Tree, pointer: str, folder: Folder, vocabulary: dict[str, int], added: dict[str, int]
) -> Iterator[Diagnostic]:
    """One text has one id, and one id one text, in whatever file of the teacher it is written."""
    places: list[tuple[str, dict[str, int]]] = [
        ("tokenizer.json, vocab", vocabulary),
        ("tokenizer.json, added_tokens", added),
        ("tokenizer_config.json", _configured(folder)),
    ]
    ids: dict[str, tuple[int, str]] = {}
    texts: dict[int, tuple[str, str]] = {}
    for place, tokens in places:
        for text, number in tokens.items():
            by_text, by_id = ids.setdefault(text, (number, place)), texts.setdefault(number, (text, place))
            if by_text[0] != number:
                fault = f"`{text}` is {by_text[0]} in {by_text[1]}, {number} in {place}"
            elif by_id[0] != text:
                fault = f"id {number} is `{by_id[0]}` in {by_id[1]}, `{text}` in {place}"
            else:
                continue
            yield tree.diagnostic(
                "KC4310",
                pointer,
                f"the {pointer.split('/')[1]}'s tokenizer files contradict each other",
                label=fault,
                help="save the tokenizer again with save_pretrained, and check its control tokens",
            )
            return


def _configured(folder: Folder) -> dict[str, int]:
    """Token → id of the tokens that tokenizer_config.json lists."""
    listed = folder.document("tokenizer_config.json", strict=False).get("added_tokens_decoder")
    found: dict[str, int] = {}
    for number, item in listed.items() if isinstance(listed, dict) else ():
        text = item.get("content") if isinstance(item, dict) else None
        if isinstance(text, str) and number.isdecimal():
            found[text] = int(number)
    return found


def _ends(spec: Spec, tree: Tree, folder: Folder, tokens: dict[str, int]) -> Iterator[Diagnostic]:
    """A teacher that was trained to begin and stop with other tokens than ours never says that an answer is over."""
    for name in ("bos", "eos"):
        text = getattr(spec.tokenizer.special, name)
        stated = folder.config.get(f"{name}_token_id")
        own = {n for n in (stated if isinstance(stated, list) else [stated]) if type(n) is int}
        if own and text in tokens and tokens[text] not in own:
            by_id = {number: token for token, number in tokens.items()}
            named = " or ".join(f"`{by_id[number]}`" for number in sorted(own) if number in by_id)
            yield tree.diagnostic(
                "KC4311",
                f"/tokenizer/special/{name}",
                f"the teacher was trained with another {name} token",
                severity="warning",
                label=f"`{text}` is id {tokens[text]}; config.json says {', '.join(map(str, sorted(own)))}",
                help=f"write {name}: {named}" if named else "check the control tokens of the teacher",
            )


def _ids(spec: Spec, tree: Tree, world: World, tokens: dict[str, int]) -> Iterator[Diagnostic]:
    count, largest, width = len(set(tokens.values())), max(tokens.values()), spec.tokenizer.vocab_size
    more = len(spec.tokenizer.expand)
    if more and count == largest + 1 and largest < width < count + more:
        yield tree.diagnostic(
            "KC4303",
            "/tokenizer/expand",
            "the vocabulary has no room for the tokens that it is expanded by",
            label=f"{count} ids and {more} more, vocab_size is {width}",
            help=_narrower(spec, world, width)
            if of_teacher(spec) is not None
            else f"write `vocab_size: {count + more}` and `student.migrate`, which gives the weights rows for them",
        )
    if largest >= width or count != largest + 1:
        what = f"ids up to {largest}" if largest >= width else f"{largest + 1 - count} holes among its ids"
        yield tree.diagnostic(
            "KC4303",
            "/tokenizer/vocab_size",
            "the teacher's tokenizer does not fit the vocabulary",
            label=f"{width} ids, its tokenizer.json has {what}",
            help=f"use a vocabulary of at least {largest + 1}" if largest >= width else "use a tokenizer without holes",
        )


def _known(spec: Spec, tree: Tree, vocabulary: dict[str, int], added: dict[str, int]) -> Iterator[Diagnostic]:
    special = spec.tokenizer.special.model_dump()
    free = sorted(set(added) - set(special.values()))[:24]
    for name, text in special.items():
        if name in spec.tokenizer.added:
            if text in added or text in vocabulary:
                yield tree.diagnostic(
                    "KC4308",
                    f"/tokenizer/added/{spec.tokenizer.added.index(name)}",
                    f"the tokenizer has a token `{text}` already",
                    label="it would be learnt anew",
                    help=f"remove `{name}` here",
                )
        elif text not in added and text not in vocabulary:
            pointer = f"/tokenizer/special/{name}"
            yield tree.diagnostic(
                "KC4308",
                pointer,
                f"the teacher's tokenizer has no token `{text}`",
                label=f"wanted as {name}",
                help=did_you_mean(text, free) or "name one of its tokens",
            )
    for i, text in enumerate(spec.tokenizer.expand):
        if text in added or text in vocabulary or text in special.values():
            yield tree.diagnostic(
                "KC4308",
                f"/tokenizer/expand/{i}",
                f"the tokenizer has a token `{text}` already",
                label="it would be a second one",
                help="remove it here",
            )
    spelled = {_byte_level(text) for text in spec.tokenizer.single_token_tags} | set(spec.tokenizer.single_token_tags)
    known = spelled & (set(vocabulary) | set(added))
    for i, tag in enumerate(spec.tokenizer.single_token_tags):
        if tag not in known and _byte_level(tag) not in known and tag not in spec.tokenizer.expand:
            yield tree.diagnostic(
                "KC4306",
                f"/tokenizer/single_token_tags/{i}",
                f"`{tag}` is no single token of the teacher's tokenizer",
                label="more than one id",
                help="remove it, or write it under tokenizer.expand",
            )


def _byte_level(text: str) -> str:
    """How a byte-level tokenizer (GPT-2) spells a text in its vocabulary: one printable character per byte."""
    return "".join(_SPELLING[byte] for byte in text.encode())


def _spelling() -> list[str]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = (chr(0x100 + i) for i in range(_BYTES))
    return [chr(byte) if byte in printable else next(rest) for byte in range(_BYTES)]


_SPELLING = _spelling()

CHECKS = (
    Check(_escapes, "tokenizer"),
    Check(_template, "tokenizer"),
    Check(_chat, "tokenizer", "teacher", "student"),
    Check(_marks, "tokenizer"),
    Check(_distinct, "tokenizer"),
    Check(_room, "tokenizer"),
    Check(_added, "tokenizer"),
    Check(_width, "tokenizer", "teacher", "student"),
    Check(_taken, "tokenizer", "teacher", "student"),
)
