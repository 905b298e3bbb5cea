"""Write settings.md: every setting of a run with its default, range, unit and meaning.

    python docs/list_settings.py

The text is read from RunConfig; `make settings` runs this program.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from fastgan_ray.config.reference import as_markdown, reference, section_model
from fastgan_ray.config.run_config import SECTIONS
from fastgan_ray.config.scheduled import ScheduledSection

OUT = Path(__file__).parent / "settings.md"
HEAD = """\
# Every setting of a run

A run's configuration (`--config` of `train`, `base` of a search or an ablation) has these
settings; the defaults are those of the published FastGAN at 256 px. `--set train.lr_g=1e-4` changes
a setting, in every command that trains. A search varies those that change the training; `check`
refuses the others. A terminal prints the same list, of all settings or of those whose name or
meaning has a word:

```sh
fastgan-ray train --help-settings
fastgan-ray train --help-settings ema
```

A number with decimals in `train`, `augment` and `regan` may be a schedule, such as
`{from: 2e-4, to: 0, over_kimg: 400, shape: cosine}`; [Schedules](training.md#schedules) explains
it. Exceptions are EXCEPTIONS.

The unit kimg is thousands of real images shown to the discriminator. Rules that combine several
settings are not in the table; an error message states them. `make settings` writes this page from
`RunConfig` (`fastgan_ray/config/`).
"""


def page() -> str:
    """Return the page as Markdown."""
    exceptions = [
        f"`{section}.{name}`"
        for section in SECTIONS
        if issubclass(model := section_model(section), ScheduledSection)
        for name in model.NOT_SCHEDULED
    ]
    parts = [HEAD.replace("EXCEPTIONS", ", ".join(exceptions))]
    for section in SECTIONS:
        summary = (inspect.getdoc(section_model(section)) or "").partition("\n")[0]
        settings = [x for x in reference() if x.name.startswith(f"{section}.")]
        parts.append(f"## {section}\n\n{summary}\n\n{as_markdown(settings)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
