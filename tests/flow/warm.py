"""Commands in processes that need not import the libraries again: forked from one that has imported them.

Half of what a small `apply` costs is importing torch, transformers and coremltools, and nearly all of what a `status`
costs is importing our own modules. A `Nursery` is a process that has imported them and called nothing; for each command
it forks a child that has the command's folder, environment, umask and pipes and ends as an interpreter ends. A command
lives and dies as if it had been started: signals, exit codes and what it leaves behind are its own. What only a new
interpreter can show (what a verb imports, libraries that read the environment when they are imported) is started as one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

#: what commands import besides what stands at the top of our modules: libraries that load parts when they are asked
LATER = (
    *("jinja2.sandbox", "jsonschema", "networkx", "rich.console", "rich.table", "coremltools.optimize.coreml"),
    *("torch._dynamo", "torch.export", "torch.export.pt2_archive._package", "torch._functorch.aot_autograd"),
    *("torch._inductor.decomposition", "torch._export.verifier", "transformers.models.auto.modeling_auto"),
    *("transformers.models.llama.modeling_llama", "transformers.models.phi.modeling_phi"),
)

#: imports all modules of both packages and what loads late, but for what may not be imported or is not installed
IMPORTS = f"""
import contextlib, importlib, logging, pkgutil, warnings
import kcompiler, runtime
logging.disable(logging.CRITICAL)
found = [module.name for package in (kcompiler, runtime)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
with warnings.catch_warnings(action="ignore"):
    while found:
        name = found.pop()
        if name.endswith("__main__"):
            continue
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            found += [f"{{name}}.{{inner.name}}" for inner in pkgutil.iter_modules(getattr(module, "__path__", []))]
    for name in {LATER!r}:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
logging.disable(logging.NOTSET)
"""


class Nursery:
    """A process that has run `first`, and forks commands."""

    def __init__(self, first: str, environment: Mapping[str, str]) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(there.fileno()), first],
                env=dict(environment),
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                # of the kind that a command has: what a stream can do is found out once
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self._answers = self._here.makefile("r", encoding="utf-8")
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the process; it has no children then, as every command is waited for."""
        with contextlib.suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)
        self._process.communicate(timeout=10)
        self._answers.close()
        self._here.close()

    def run(
        self, code: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], umask: int, timeout: float
    ) -> tuple[int, str, str]:
        """Exit code (negative: the signal that ended it), stdout and stderr of `python -c code arguments…`.

        Raises subprocess.TimeoutExpired after `timeout` seconds; the command is killed first.
        """
        job = {"code": code, "argv": [*arguments], "cwd": str(cwd), "env": dict(env), "umask": umask}
        reads, writes = zip(os.pipe(), os.pipe(), strict=True)
        line = json.dumps(job).encode() + b"\n"
        # the descriptors come with the first byte, the length says how much follows
        socket.send_fds(self._here, [len(line).to_bytes(4, "big")], [*writes])
        for end in writes:
            os.close(end)
        self._here.sendall(line)
        said: list[bytes] = [b"", b""]
        readers = [threading.Thread(target=_read, args=(reads[i], said, i)) for i in (0, 1)]
        for reader in readers:
            reader.start()
        child = int(self._answer())
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            os.kill(child, 9)

        timer = threading.Timer(timeout, end)
        timer.start()
        status = int(self._answer())
        timer.cancel()
        for reader in readers:
            reader.join()
        if overdue.is_set():
            raise subprocess.TimeoutExpired([*arguments], timeout, *said)
        out, err = (one.decode().replace("\r\n", "\n") for one in said)
        return os.waitstatus_to_exitcode(status), out, err

    def _answer(self) -> str:
        line = self._answers.readline()
        if not line:
            assert self._process.stderr is not None
            raise RuntimeError(f"the process that forks commands is gone: {self._process.stderr.read().decode()}")
        return line


def _read(end: int, said: list[bytes], at: int) -> None:
    with os.fdopen(end, "rb") as file:
        said[at] = file.read()


#: the process itself: `first` runs, then each job is forked; a child leaves the loop and goes on below it
SERVER = """
import gc, json, os, socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
exec(sys.argv[2], {"__name__": "first"})
assert len(os.listdir("/proc/self/task")) == 1, "a process of several threads cannot be forked"
gc.collect()
gc.freeze()
while True:
    head, ends, _, _ = socket.recv_fds(server, 4, 2)
    if not head:
        os._exit(0)
    left, text = int.from_bytes(head, "big"), b""
    while len(text) < left:
        text += server.recv(left - len(text))
    job = json.loads(text)
    child = os.fork()
    if child == 0:
        break
    for end in ends:
        os.close(end)
    server.sendall(b"%d\\n" % child)
    server.sendall(b"%d\\n" % os.waitpid(child, 0)[1])
server.close()
for number, end in enumerate(ends, 1):
    os.dup2(end, number)
    os.close(end)
if job["umask"] >= 0:
    os.umask(job["umask"])
os.chdir(job["cwd"])
os.environ.clear()
os.environ.update(job["env"])
sys.argv = ["-c", *job["argv"]]
sys.path[:] = ["", *job["env"]["PYTHONPATH"].split(os.pathsep), *[
    item for item in sys.path if item and item not in os.environ["PYTHONPATH"].split(os.pathsep)]]
code = compile(job["code"], "<string>", "exec")
exec(code)
"""
