"""Suggest an option or a setting if the user gives an option of another GAN program."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from typer.core import TyperCommand

from fastgan_ray.errors import UserError

# Options of other programs (without dashes) -> our option for the same thing.
OTHER_OPTIONS = {
    **dict.fromkeys(("name", "output_path"), "--out"),
    "override": "--overwrite",
    **dict.fromkeys(("data_folder", "path", "dataset", "dataset_name"), "--data"),
    **dict.fromkeys(("generator_weights", "discriminator_weights"), "--init-from"),
    **dict.fromkeys(("ckpt", "start_iter"), "--resume"),
}


class Command(TyperCommand):
    """A command that suggests an option or a setting if the user gives an unknown option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's context
        """Parse the arguments; raise UserError for an unknown option if `hint` has a suggestion."""
        known = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        for word in args:
            option = word.partition("=")[0]
            if word == "--":
                break
            if option.startswith("--") and option not in known and (text := hint(option, known)):
                raise UserError(f"{option}: is not an option of {ctx.info_name}; {text}")
        return super().parse_args(ctx, args)


def hint(option: str, known: Set[str]) -> str:
    """Return a suggestion to use instead of the unknown `option`; "" if there is none.

    `known` has the options of the command. A setting is suggested only if the command has --set.
    """
    from fastgan_ray.config.other_names import OTHER_NAMES
    from fastgan_ray.config.run_config import field_names

    name = option.lstrip("-").lower().replace("-", "_")
    if OTHER_OPTIONS.get(name) in known:
        return f"did you mean {OTHER_OPTIONS[name]}?"
    if "--set" not in known:
        return ""
    if name in OTHER_NAMES:
        return f"{OTHER_NAMES[name]} (change a setting with --set NAME=VALUE)"
    settings = [field for field in field_names() if field.partition(".")[2] == name]
    return f"did you mean --set {settings[0]}=VALUE?" if settings else ""
