"""What is named on the command line -> the runtime that computes it; torch is imported for a run alone."""

from cxr.deploy.runtime import Runtime


def open_runtime(run: str, device_name: str = "auto", head_findings: str | None = None) -> Runtime:
    """The model, ready to predict; what must be known about it is printed to stderr.

    Args:
        run: Run folder, checkpoint file, `xrv:NAME` or a weight file.
        device_name: As the key `device`.
        head_findings: What the outputs of a weight file are: a group or names with commas between.

    Raises:
        CxrError: There is no such model or device, or the file is damaged.
    """
    from cxr.deploy.torch_runtime import open_torch

    return open_torch(run, device_name, head_findings)
