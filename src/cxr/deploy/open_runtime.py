"""What is named on the command line -> the runtime that computes it; torch is imported for a run alone."""

from pathlib import Path

from cxr.deploy.onnx_file import is_onnx
from cxr.deploy.runtime import Runtime
from cxr.errors import CxrError

PROGRAMS = ("onnxruntime", "openvino")
"""Which may compute an exported file; the first is taken by default."""


def open_runtime(
    run: str, device_name: str = "auto", head_findings: str | None = None, program: str | None = None
) -> Runtime:
    """The model, ready to predict; what must be known about it is printed to stderr.

    Args:
        run: Run folder, checkpoint file, `xrv:NAME`, a weight file, or a model.onnx of `cxr export`.
        device_name: As the key `device`; an exported file is computed on the CPU.
        head_findings: What the outputs of a weight file are: a group or names with commas between.
        program: One of PROGRAMS, for an exported file.

    Raises:
        CxrError: There is no such model or device, the file is damaged, or an option is for another kind.
    """
    if is_onnx(run):
        from cxr.deploy.onnx_runtime import open_onnx

        if head_findings is not None:
            raise CxrError(f"--head-findings: {run} names its findings already", "leave --head-findings out")
        if device_name not in ("auto", "cpu"):
            raise CxrError(f"--device {device_name}: {run} is computed on the CPU", "give the run instead")
        return open_onnx(Path(run), program or PROGRAMS[0])
    if program is not None:
        raise CxrError(f"--runtime {program}: is for a file of cxr export", "leave --runtime out")
    try:
        from cxr.deploy.torch_runtime import open_torch
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        hint = "pip install cxr, or give a model.onnx of cxr export"
        raise CxrError(f"{run}: needs PyTorch, which is not installed", hint) from None
    return open_torch(run, device_name, head_findings)
