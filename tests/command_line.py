"""Run a command of fastgan-ray inside the test's process."""

import pytest

from fastgan_ray.cli.main import main


def call(*arguments: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)
