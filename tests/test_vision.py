import subprocess
import sys

SCRIPT = """
import sys
import cxr.commands.predict, cxr.deploy.torch_runtime
heavy = [name for name in ("torch._dynamo", "sympy", "sklearn", "scipy", "matplotlib") if name in sys.modules]
assert not heavy, heavy
from cxr.vision import without_compiler
with without_compiler():
    from torch._dynamo.utils import is_compile_supported, counters  # the second is no stand-in's
assert "torch._dynamo.utils" in sys.modules and sys.modules["torch._dynamo.utils"].counters is counters
import torch
from torchvision.ops import roi_align
assert is_compile_supported("cpu") == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu")
print(roi_align(torch.ones(1, 1, 8, 8), [torch.tensor([[0.0, 0, 4, 4]])], 2).sum().item())
print(torch.compile(torch.nn.ReLU(), backend="eager")(torch.tensor(-1.0)).item())
"""


def test_a_prediction_imports_neither_compiler_nor_statistics_and_both_are_there_when_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["4.0", "0.0"]), done.stderr
