"""Find the outcome of a trial that ended with an exception, and the reason in words."""

from __future__ import annotations

from fastgan_ray.errors import DivergedError, UserError, full_disk
from fastgan_ray.tune.ray.compat import LOW_ON_MEMORY
from fastgan_ray.tune.trial.folder import Outcome

LONGEST_REASON = 300


def classify(error: BaseException) -> tuple[Outcome, str]:
    """Return the outcome of a trial that ended with the exception `error`, and the reason in words.

    The outcome is "diverged", "out_of_memory" or "failed".
    """
    reason = str(error) or type(error).__name__
    if isinstance(error, DivergedError):
        return "diverged", reason
    if _is_out_of_memory(error):
        return "out_of_memory", " ".join(reason.split())[:LONGEST_REASON]
    return "failed", reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"


def is_no_result(error: BaseException) -> bool:
    """Return whether the cause of an exception is a full disk or a machine fault.

    Then the exception says nothing about the trial's configuration, so the trial runs again. It
    runs in a new process, because the old process cannot recover from a device error.
    """
    from fastgan_ray.train.failures import is_machine_fault  # imports PyTorch

    return bool(full_disk(error)) or is_machine_fault(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device or the machine ran out of memory, according to PyTorch or Ray."""
    from fastgan_ray.train.failures import is_out_of_memory

    return is_out_of_memory(error) or LOW_ON_MEMORY in str(error).lower()
