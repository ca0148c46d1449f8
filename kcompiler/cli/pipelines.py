"""What `init --ci` writes: the pipeline of a code host, hooks for pre-commit, and where pip finds kcompiler."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from kcompiler.cli.outcome import Outcome

HOSTS = {"github": ".github/workflows/kcompiler.yml", "gitlab": ".gitlab-ci.yml"}
#: what runs on a Mac, where the code host lends one
DEVICE = ".github/workflows/kcompiler-device.yml"
REQUIREMENTS = "kcompiler-requirements.txt"
HOOKS = ".pre-commit-config.yaml"
_TEMPLATES = Path(__file__).resolve().parent.parent / "pipelines"
#: a name that no shell and no expression of a code host reads as anything else
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*\Z")


def specs_of(folder: Path) -> list[str]:
    """The specs of a project, as its pipelines name them. Raises Outcome for a name that a shell could misread."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob("specs/*.yaml"))
    for name in found:
        if not _PLAIN.match(name):
            said = f"{name}: a pipeline names its specs by letters, digits, `.`, `_`, `-` alone"
            raise Outcome(2, "unusable-path", "rename it, then the same command again", said)
    return found


def pipelines(host: str, folder: Path, write_new: Callable[[Path, str], None]) -> None:
    """Write what is not there yet; every command in it is one that a person may run as well."""
    specs = specs_of(folder)
    if not specs:
        said = f"{folder / 'specs'} has no spec that a pipeline could carry out"
        raise Outcome(2, "no-spec", "kcompiler init", said)
    write_new(folder / HOSTS[host], _filled(f"{host}.yml", specs))
    if host == "github":
        write_new(folder / DEVICE, _filled("device.yml", specs))
    write_new(folder / HOOKS, _filled("pre-commit.yml", specs))
    write_new(folder / REQUIREMENTS, _requirements())


def _filled(template: str, specs: Sequence[str]) -> str:
    indent = {"github.yml": 10, "gitlab.yml": 6}.get(template, 0) * " "
    into = "--check --format markdown {} kcompiler-out/plan.md || code=$?"
    plans = [f"{indent}kcompiler plan {name} {into.format('>>' if at else '>')}" for at, name in enumerate(specs)]
    hooks = [
        f"""      - id: kcompiler-plan-{Path(name).stem}
        name: the committed lock of {name} is its plan
        language: system
        entry: kcompiler plan --check {name}
        pass_filenames: false"""
        for name in specs
    ]
    stems = [(name, Path(name).stem) for name in specs]
    delivered = [
        f"          {line}"
        for name, stem in stems
        for line in (
            f"kcompiler apply {name}",
            f"kcompiler deliver {name} --goldens --to kcompiler-delivery/{stem}",
        )
    ]
    verify = "kcompiler verify --on-device kcompiler-delivery/{0} --to kcompiler-device/{0}.json"
    asked = '--level "$LEVEL" --units "$UNITS" || code=$?'
    devices = [f"          {verify.format(stem)} {asked}" for _, stem in stems]
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return (
        text.replace("@SPECS@", " ".join(specs))
        .replace("@PLANS@", "\n".join(plans))
        .replace("@HOOKS@", "\n".join(hooks))
        .replace("@DELIVERIES@", "\n".join(delivered))
        .replace("@DEVICES@", "\n".join(devices))
    )


def _requirements() -> str:
    """A revision of a repository, where kcompiler was installed from one; else a line to be filled in."""
    from importlib.metadata import PackageNotFoundError, distribution

    head = "# Where pip finds kcompiler for the pipeline; written by `kcompiler init --ci`.\n"
    try:
        source = json.loads(distribution("kcompiler").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        source = {}
    commit, url = source.get("vcs_info", {}).get("commit_id"), source.get("url")
    if commit and url:
        return f"{head}kcompiler[run] @ git+{url}@{commit}\n"
    example = "# kcompiler[run] @ git+https://git.example.org/team/kcompiler@COMMIT\n"
    return (
        f"{head}# Until a line stands here the pipeline ends with `kcompiler: command not found`; such as:\n{example}"
    )
