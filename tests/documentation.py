"""What the documentation tells a reader to type, in the order of a page."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += [ROOT / folder / "README.md" for folder in ("benchmarks", "cluster")]
PROGRAMS = (
    "fastgan-ray",
    "python",
    "make",
    "pip",
    "wandb",
    "hf",
    "ray",
    "kubectl",
    "docker",
    "aws",
    "gcloud",
)
# A fence with its language, an indented line, or a code span, which may be broken over two lines.
CODE = re.compile(r"^```(\w*)\n(.*?)^```$|^    (\S[^\n]*)$|`([^`]+)`", re.M | re.S)
CONTINUED = re.compile(r"\\\n *")
MODULE = re.compile(r"^python -m fastgan_ray\.(\w+)")
MENTION = re.compile(r"[\w-]+( [a-z][\w-]*)?")  # a program, or a command without arguments


def commands(page: Path) -> list[str]:
    """Every command of a page, without its comment: fenced, indented, or with arguments in a line
    of text. A fence of an unknown language and an indented line that is none are errors."""
    found = []
    for language, fenced, indented, span in CODE.findall(CONTINUED.sub("", page.read_text())):
        if fenced:
            assert language in ("", "sh", "python", "yaml"), f"{page}: a fence of {language}"
            lines = fenced.splitlines() if language == "sh" else []
        elif indented:
            lines = [] if re.fullmatch(r"\S+/", indented) else [indented]  # a tree's head
        else:
            lines = [" ".join(span.split())] if MENTION.fullmatch(own_name(span)) is None else []
            lines = [line for line in lines if own_name(line).split()[0] in PROGRAMS]
        found += [own_name(line).partition(" #")[0].strip() for line in lines]
    return [command for command in found if command]


def own_name(command: str) -> str:
    """A command without variables and the environment's folder, ours always as fastgan-ray."""
    plain = re.sub(r"^([A-Z_]+=\S* )+", "", command).removeprefix(".venv/bin/")
    return MODULE.sub(r"fastgan-ray \1", plain)


def blocks(page: Path, language: str) -> list[str]:
    """What stands in a page's fences of a language."""
    return [fenced for name, fenced, *_ in CODE.findall(page.read_text()) if name == language]


def tree(page: Path) -> list[str]:
    """The names in the folder's tree of a page, of which the folder's own name is the head."""
    lines = page.read_text().splitlines()
    head = next(n for n, line in enumerate(lines) if re.fullmatch(r"    \S+/", line))
    names = []
    for line in lines[head + 1 :]:
        if not line.startswith("      "):
            return names
        names.append(line.split()[0])
    return names
