"""Let torchvision be imported beside a torch that its compiled part was not built for.

The package index has torchvision for CUDA only. Beside a torch for the CPU its compiled part cannot be loaded, and then
its import fails, because it gives two operators of that part their shapes. timm and torch-fidelity import torchvision,
diffusers and transformers do where there is one; all use only what is written in Python. So where the import fails,
the two operators are declared, without an implementation, in the installed copy. Who calls one gets torch's error.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

DECLARATIONS = """

# Added by tools/fit_torchvision.py of entropick: the compiled part was built for another torch.
if not _has_ops() and not hasattr(torch.ops.torchvision, "nms"):
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _declared.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def problem() -> str:
    """What importing torchvision says, in a process of its own; empty if it can be imported."""
    done = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def main() -> int:
    """Look, mend, look again."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or not problem():
        return 0
    file = Path(spec.origin).parent / "extension.py"
    text = file.read_text(encoding="utf-8")
    if DECLARATIONS not in text:
        file.write_text(text + DECLARATIONS, encoding="utf-8")
    if message := problem():
        print(f"make: torchvision cannot be imported ({message}). Install one that fits torch.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
