"""A place in an answer → whether the answer says what stands there, or denies it, or leaves it open. Standard library.

A negation denies what follows it closely within its clause (English and German); one that only bounds a value ("not
only", "no later than") does not. "It is not true that", "nobody says" and "it is unclear whether" deny to the end of
their sentence, as a label does ("False: X"). What is called wrong behind its place ("X (incorrect)", "X is a myth") or
by the next sentence, what is struck out or crossed, what is asked, and what "or" joins to something else is not said
either; what was so once, or would be so if, is only supposed (`supposed`). Language denies in more ways than these: who
reads answers for a living reads the worst of them, too (`show items --worst`).
"""

from __future__ import annotations

import re

#: words between a negation and what it denies, at most
_REACH = 4
#: characters that are looked at on either side of a place, and those of a sentence
_NEAR, _SENTENCE = 120, 400
_NEGATED = r"(?:not|never|nicht|niemals|hardly|kaum|\w+n['’]t)"
_NOT = re.compile(
    r"\b(?:not|never|no(?!\.?\s*\d)|neither|nor|without|cannot|\w+n['’]t|nicht|nie|niemals|kein\w{0,2}|ohne|weder|noch"
    r"|hardly|barely|scarcely|kaum|anything\s+but|alles\s+andere\s+als|rather\s+than|instead\s+of|statt"
    r"|doubt\w{0,3}|bezweif\w{1,4}|den(?:y|ies|ied|ying)|unlikely|(?:opposite|reverse|contrary|Gegenteil)\s+(?:of|to|von))\b"
    r"(?!\s+(?:only|just|later|more|less|earlier|sooner|before|until|doubt|problem|nur|später|mehr|weniger|früher|vor))",
    re.IGNORECASE,
)
_NO_DOUBT = re.compile(
    r"\b(?:no|without|beyond|not|never|any|kein\w{0,2}|\w+n['’]t)(?:\s+a)?\s+doubt\w{0,3}\b", re.IGNORECASE
)
_CLAUSE = re.compile(
    r"[.,;:!?](?=\s|$)|\n|\s[-–—]\s|\b(?:(?<!anything )but|and|sondern|aber|und)\b",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?](?=\s|$)|\n|\b(?:(?<!anything )but|sondern|aber)\b", re.IGNORECASE)
_FALSE = (
    r"(?:wrong|false|untrue|incorrect|inaccurate|mistaken|impossible|fiction(?:al)?|nonsense|fake|bogus|invented|made[\s-]up(?!\s+of)"
    r"|(?:an?|pure|ein)\s+(?:lie|myth|fiction|invention|hoax|joke|error|mistake|Lüge|Mythos|Märchen|Irrtum)"
    r"|no\s+longer\s+(?:true|the\s+case|so)|falsch|unwahr|unrichtig|gelogen|erfunden|Unsinn|Quatsch)"
)
_TRUE = r"(?:right|true|correct|so|the\s+case|richtig|wahr|korrekt|der\s+Fall)"
_BE = r"(?:is|are|was|were|ist|sind|war|waren)"
_BE_NOT = rf"(?:(?:is|are|was|were)n['’]t|{_BE}\s+(?:not|never|nicht|kein\w{{0,2}}))"
#: what the words right behind a place say of it
_UNTRUE = re.compile(
    rf"[^\w\n]*\s+(?:{_BE}\s+(?:\w+\s+)?{_FALSE}|{_BE_NOT}\s+(?:{_TRUE}|the|its?|an?|what|where|either|der|die|das))\b",
    re.IGNORECASE,
)
#: the next sentence, or the rest of this one, takes it back
_TAKEN_BACK = re.compile(
    rf"(?:[.!;,:]|\s[-–—])\s+(?:(?:but|and|no|which|aber|was)\W+)*(?:that|this|it|which|das|dies|es|was)(?:\s+{_BE}\s+(?:\w+\s+)?{_FALSE}|"
    rf"\s+{_BE_NOT}\s+{_TRUE}|['’]s\s+(?:\w+\s+)?{_FALSE}|['’]s\s+not\s+{_TRUE})\b|[.!;,:]\s+(?:not\s+true|just\s+kidding|not)\s*(?:[.!]|$)"
    rf"|,\s+{_FALSE}\s*(?:[.!;]|$)"
    r"|,?\s+but\s+(?:(?:it|that|this|they)\s+)?(?:(?:is|are|was|were|does|do|did)(?:n['’]t|\s+not))\s*(?:[.!;]|$)"
    r"|[.!;,:(]\s+(?:but\s+)?I(?:['’]m|\s+am|\s+was)?\s+(?:made\s+(?:this|that|it|all)\b[^.!?\n]{0,20}\bup|lied|lying|joking"
    r"|kidding|wrong|mistaken)\b(?!\s+(?:earlier|before|about))",
    re.IGNORECASE,
)
#: a sentence whose that-clause is called wrong
_NOT_THAT = re.compile(
    rf"(?:\b{_NEGATED}\s+(?:\w+\s+){{0,2}}{_TRUE}|\b{_FALSE})\b[^.!?\n]*\b(?:that|dass)\b", re.IGNORECASE
)
#: the end of what is said, or of a part of it
_STOP = r"[\"'*_`]*\s*(?:[)\]}.,;:!?]|\Z|\n)"
#: the rest of the clause calls the whole of it wrong; a conjunction would begin another subject
_CALLED = re.compile(
    rf"(?:(?!\b(?:because|since|as|when|if|that|which|who|while|though|although|where|weil|da|wenn|dass)\b)"
    rf"[^.,;:!?()\n]|[.,](?=\d)){{0,80}}?\s(?:{_BE}\s+(?:\w+\s+)?{_FALSE}|(?:does|do|did)(?:n['’]t|\s+not)\s+(?:hold|apply|exist)"
    rf"|(?:stimmt|stimmen|gilt|gelten)\s+(?:\w+\s+){{0,2}}nicht){_STOP}",
    re.IGNORECASE,
)
#: a remark behind it: "(incorrect)", "- no, …", ": false"
_REMARK = re.compile(
    r"[^\n.,;:!?()\[\]{}→⇒]{0,40}?\s*(?:[(\[{:=→⇒–—]|\s-|->|=>)\s*[\"'*_`]*(?:(?:this|that|it|which|das|dies)(?:\s+"
    rf"{_BE}|['’]s)\s+)?(?:\w+ly\s+)?(?:{_FALSE}(?:\s+answer)?|(?:not|nicht)(?:\s+{_TRUE})?|no|nope|nein|just\s+kidding|kidding"
    rf"|joking|sarcasm|irony){_STOP}",
    re.IGNORECASE,
)
#: a label before it: "False: …"
_LABELLED = re.compile(
    r"[\W_]*(?:the\s+)?(?:false|wrong|incorrect|untrue|inaccurate|myth|lie|fiction|fake|nonsense|hoax|made\s+up|invented|not"
    r"(?:\s+(?:true|right|correct))?|falsch|unwahr|unrichtig|mythos|lüge|unsinn|erfunden|nicht)"
    r"(?:\s+(?:answers?|claims?|statements?|facts?|values?|results?|news|antwort))?[*_`\"')\]]*\s*(?:[:=–—]|->|→|\s-\s)",
    re.IGNORECASE,
)
_DISOWNED = re.compile(
    r"\b(?:(?:nobody|no\s+one|niemand|keiner|none\s+of\s+\w+)\s+(?:\w+\s+){0,2}(?:says?|said|claims?|claimed|thinks?|thought"
    r"|believes?|believed|knows?|told|tells|sagt|behauptet|glaubt|weiß)\b"
    r"|(?:unclear|unknown|uncertain|undecided|unsure|doubtful|questionable|not\s+(?:clear|known|sure|certain)|no\s+idea|wonder"
    r"|(?:do|does|did)(?:n['’]t|\s+not)\s+know|can(?:not|['’]t)\s+(?:say|tell|confirm)|unklar|ungewiss|fraglich|weiß\s+nicht)"
    r"\s*,?\s+(?:whether|if|ob)\b"
    rf"|(?:the\s+following|what\s+follows|folgendes)\s+{_BE}\s+(?:\w+\s+)?{_FALSE}\b"
    r"|made\s+(?:this|that|it|all|the\s+following)\b[^:\n]{0,20}\bup\b[^:\n]{0,20}:)",
    re.IGNORECASE,
)
_CROSS, _TICK = "❌✗✘✖❎🚫⛔👎", "✅✓✔☑👍"
_CROSSED = re.compile(rf"[^\w\n]{{0,4}}?[{_CROSS}]")
_MARK = re.compile(rf"[{_CROSS}{_TICK}]")
_STRUCK = re.compile(r"~~|<(?P<end>/?)(?:s|del|strike)\b[^<>]{0,40}>", re.IGNORECASE)
#: what was so, or would be
_SUPPOSED = re.compile(
    r"\b(?:used\s+to\s+be|(?:would|could|might)(?:n['’]t)?\s+have\s+been|hypothetically|suppose|imagine|pretend"
    r"|angenommen)\b",
    re.IGNORECASE,
)
_WOULD = re.compile(r"\b(?:would|could|might|wäre|würde|hätte|könnte)\b|['’]d\b", re.IGNORECASE)
_IF = re.compile(
    r"\b(?:if|unless|wenn|falls)\b.*\b(?:(?:were|was|had|did|could)(?:n['’]t)?|wäre|hätte|würde)\b", re.IGNORECASE
)
#: what a question has that asks for it
_SUPPOSING = re.compile(r"\b(?:used?\s+to|if|unless|would\s+have|wenn|falls)\b", re.IGNORECASE)
_OPEN_BEFORE = re.compile(r"\b(?:or|oder)\s+[^\w\s]*$", re.IGNORECASE)
_OPEN_BEHIND = re.compile(r"[^\w\s]*,?\s+(?:or|oder)\b", re.IGNORECASE)
_INVERTED = re.compile(
    r"\s*(?:(?:is|are|was|were|does|do|did|could|might|would|should|can|ist|sind|war|könnte|kann)\b)", re.IGNORECASE
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` is denied, asked, or left open."""
    before, behind = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    if _OPEN_BEFORE.search(before) or _OPEN_BEHIND.match(behind) or _UNTRUE.match(behind):
        return True
    if _asked(text, start, end) or _taken_back(text, end) or _CALLED.match(behind) or _REMARK.match(behind):
        return True
    ahead = text[max(0, start - _SENTENCE) : start]
    sentence = _END.split(ahead)[-1]
    part = sentence.rpartition(";")[2]
    if _NOT_THAT.search(sentence) or _LABELLED.match(part) or _DISOWNED.search(part) or _crossed(ahead, behind):
        return True
    clause = _NO_DOUBT.sub("", _CLAUSE.split(before)[-1])
    nots = [*_NOT.finditer(clause)]
    return bool(nots) and len(clause[nots[-1].end() :].split()) <= _REACH


def supposed(text: str, start: int, end: int) -> bool:
    """Whether what stands there was so once, or would be so under a condition that is not given."""
    before = _END.split(text[max(0, start - _SENTENCE) : start])[-1]
    if _SUPPOSED.search(before):
        return True
    if _WOULD.search(before) is None:
        return False
    return bool(_IF.search(before) or _IF.search(_END.split(text[end : end + _SENTENCE])[0]))


def supposing(asked: str) -> bool:
    """Whether a question asks for what was, or would be: then an answer may say it so."""
    return bool(_SUPPOSING.search(asked))


def _crossed(ahead: str, behind: str) -> bool:
    """Whether it is struck out, or a cross stands at it: before it, or behind it where no mark stands before."""
    line = ahead.rpartition("\n")[2]
    open_ = 0
    for sign in _STRUCK.finditer(line):
        open_ = (1 - open_) if sign[0] == "~~" else (0 if sign["end"] else 1)
    if open_:
        return True
    marks = _MARK.findall(line)
    return marks[-1] in _CROSS if marks else bool(_CROSSED.match(behind))


def _asked(text: str, start: int, end: int) -> bool:
    """Whether a place stands in a question: its clause ends with the mark, or its sentence begins as one and does."""
    behind = text[end : end + _SENTENCE]
    first = re.search(r"[.,;:!?](?=\s|$)|\n", behind)
    if first and first[0] == "?":
        return True
    last = re.search(r"[.!?](?=\s|$)|\n", behind)
    if not last or last[0] != "?":
        return False
    return bool(_INVERTED.match(re.split(r"[.!?](?=\s|$)|\n", text[max(0, start - _SENTENCE) : start])[-1]))


def _taken_back(text: str, end: int) -> bool:
    """Whether the rest of the sentence or the next one calls it wrong."""
    behind = text[end : end + _SENTENCE]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)|\n", behind)]
    return bool(_TAKEN_BACK.search(behind[: ends[1]] if len(ends) > 1 else behind))
