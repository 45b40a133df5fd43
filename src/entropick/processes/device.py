"""Where products run."""

from __future__ import annotations

from entropick.errors import InputError


def usable_device(device: str) -> str:
    """Return "cuda" or "cpu" for "auto", and any other device as it is.

    Raises
    ------
    InputError
        If torch does not know the device, or there is none here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise InputError(f'device: expected "auto", "cpu" or "cuda", got {device!r}.') from error
    if kind not in ("cpu", "cuda"):
        raise InputError(f'device: expected "auto", "cpu" or "cuda", got {device!r}.')
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f'device: expected one that is here, got {device!r}, but torch sees no GPU. Use device="cpu".')
    return device
