"""Draw images/architecture.svg: packages as boxes in layers, imports between them as lines.

    python docs/draw_architecture.py

The layers are those of the import rules in pyproject.toml, the lines are read from the code.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "fastgan_ray"
OUT = Path(__file__).parent / "images" / "architecture.svg"
LAYERS = [
    ["cli"],
    ["api"],
    ["tune"],
    ["tune/rounds", "tune/driver", "tune/suggest", "tune/trial"],
    ["tune/storage", "tune/wandb", "tune/ray"],
    ["report"],
    ["search/cost", "search/knowledge", "latent"],
    ["search", "search/curves"],
    ["search/file"],
    ["train"],
    ["metrics", "models", "augment"],
    ["data"],
    ["config"],
]
WIDTH, ROW, BOX, HEIGHT = 960, 74, 128, 36


def package_of(module: str) -> str | None:
    """Return the box of a dotted module; None for a module without a box."""
    parts = module.split(".")[1:]
    for depth in (2, 1):
        name = "/".join(parts[:depth])
        if any(name in layer for layer in LAYERS):
            return name
    return None


def imports() -> set[tuple[str, str]]:
    """Find which packages import which."""
    found: set[tuple[str, str]] = set()
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        source = package_of(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastgan_ray."):
                target = package_of(f"{node.module}.")
                if source and target and source != target:
                    found.add((source, target))
    return found


def places() -> dict[str, tuple[float, float]]:
    """Return the centre of each box."""
    middles = {}
    for row, layer in enumerate(LAYERS):
        for column, name in enumerate(layer):
            x = WIDTH * (column + 1) / (len(layer) + 1)
            middles[name] = (x, ROW * row + ROW / 2)
    return middles


def draw() -> str:
    """Return the picture as SVG."""
    middles, lines = places(), []
    for source, target in sorted(imports()):
        (x1, y1), (x2, y2) = middles[source], middles[target]
        lines.append(
            f'<line x1="{x1:.0f}" y1="{y1 + HEIGHT / 2 * (1 if y2 > y1 else -1):.0f}" '
            f'x2="{x2:.0f}" y2="{y2 - HEIGHT / 2 * (1 if y2 > y1 else -1):.0f}" '
            f'stroke="#8aa" opacity="0.6"/>'
        )
    for name, (x, y) in middles.items():
        lines.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" '
            f'height="{HEIGHT}" rx="6" fill="#eef4f7" stroke="#456"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{name}/</text>'
        )
    size = f'width="{WIDTH}" height="{ROW * len(LAYERS)}"'
    style = 'font-family="sans-serif" font-size="14"'
    body = "\n".join(lines)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


if __name__ == "__main__":
    OUT.write_text(draw())
