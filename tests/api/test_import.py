"""What `import cxr` gives, and what it costs."""

import importlib
import subprocess
import sys

import pytest

import cxr

HEAVY = ("torch", "numpy", "pandas", "PIL", "cv2", "pydicom", "pydantic", "rich", "sklearn", "matplotlib")


def test_the_names_are_few_and_all_there() -> None:
    names = ["Batch", "CxrError", "Dataset", "Explanation", "Model", "Report"]
    names += ["__version__", "load", "score", "score_maps"]
    assert cxr.__all__ == names
    assert set(names) <= set(dir(cxr))
    for name in names[:6]:
        assert getattr(cxr, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'cxr' has no attribute 'predict'"):
        importlib.import_module("cxr").predict  # noqa: B018 - the access is what is tested


def test_every_name_and_every_method_says_what_it_gives() -> None:
    for name in cxr.__all__:
        value = getattr(cxr, name)
        members = [value, *(vars(value).values() if isinstance(value, type) else ())]
        for member in members:
            if callable(member) and not getattr(member, "__name__", "_").startswith("_"):
                assert member.__doc__, member
                assert isinstance(member, type) or member.__annotations__, member


def test_importing_it_imports_nothing_heavy_and_scoring_no_torch() -> None:
    code = f"""
import sys
import cxr
cxr.__version__; cxr.CxrError; dir(cxr)
print(sorted(set({HEAVY!r}) & set(sys.modules)))
cxr.score, cxr.Report
print(sorted({{"torch", "torchvision"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
