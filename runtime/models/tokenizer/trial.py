"""Texts through the tokenizer of somebody's folder, in a process of its own: started by `proving`, never imported.

One JSON object a line, each answered by one: `{bytes, seconds}`, the caps on its memory and on each answer; `{path}`,
of a tokenizer.json; then requests `{texts}`, each answered by `{tokens}`, how many they are. A file that cannot be read
is answered by `{error}`. Standard library and tokenizers only.
"""

import json
import os
import resource
import sys

#: how much of a library's message is told
_SAID = 300


def _last(seconds: float) -> None:
    """Live for so many seconds of processor time more at most, also where nobody is left who could kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def main() -> None:
    """Answer line by line until the input ends."""
    caps = json.loads(sys.stdin.readline())
    for kind in ("RLIMIT_AS", "RLIMIT_DATA"):
        most = getattr(resource, kind, None)
        if most is not None:
            resource.setrlimit(most, (caps["bytes"], caps["bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # threads of its own would each take address space
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer

    tokenizer: Tokenizer | None = None
    reply: dict[str, object] = {}
    while True:
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        _last(caps["seconds"])
        request = json.loads(line)
        try:
            if tokenizer is None:
                tokenizer, reply = Tokenizer.from_file(request["path"]), {}
            else:
                reply = {"tokens": sum(len(tokenizer.encode(text).ids) for text in request["texts"])}
        except Exception as error:
            reply = {"error": str(error)[:_SAID]}


if __name__ == "__main__":
    main()
