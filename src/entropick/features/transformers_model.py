"""Models and image processors of the package transformers, read from a folder and kept quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from entropick import arrays
from entropick.errors import InputError
from entropick.features.network import as_rgb


def load_model(folder: Path, device: Any, *, who: str) -> tuple[Any, set[str]]:
    """The model in evaluation mode, and the names of parameters that the checkpoint does not have."""
    import torch
    from transformers import AutoModel

    with _quiet():
        try:
            model, found = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise InputError(f"{who}: transformers cannot load the model in {folder} ({error}).") from error
    return model.eval().requires_grad_(False).to(device), set(found["missing_keys"])


def load_processor(folder: Path) -> Any:
    """The checkpoint's own image processor, by Pillow, so that the features do not depend on what else is installed."""
    from transformers import AutoImageProcessor

    with _quiet():
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")


def prepared(processor: Any, device: Any) -> Callable[[arrays.Images], Any]:
    """From uint8 images ``(b, h, w, c)`` to the pixels that a model takes."""

    def prepare(images: arrays.Images) -> Any:
        # Said, not guessed: an image of 3 rows, or of 3 columns, could be taken for channels first.
        found = processor(images=list(as_rgb(images)), return_tensors="pt", input_data_format="channels_last")
        return found["pixel_values"].to(device)

    return prepare


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no advice on standard error, which belongs to the command line."""
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
