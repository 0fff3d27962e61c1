"""Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device.

`load` gives a trained model, `score` a report of predictions, `score_maps` scores of heat maps, `Dataset`
batches for your own training loop; see docs/python.md. Each is imported when it is first used, so that
`import cxr` takes no time.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cxr.api.batches import Batch, Dataset
    from cxr.api.explanation import Explanation
    from cxr.api.maps import score_maps
    from cxr.api.model import Model, load
    from cxr.api.scoring import Report, score
    from cxr.errors import CxrError

__all__ = [
    "Batch",
    "CxrError",
    "Dataset",
    "Explanation",
    "Model",
    "Report",
    "__version__",
    "load",
    "score",
    "score_maps",
]

_HOMES = {
    "Batch": "cxr.api.batches",
    "CxrError": "cxr.errors",
    "Dataset": "cxr.api.batches",
    "Explanation": "cxr.api.explanation",
    "Model": "cxr.api.model",
    "Report": "cxr.api.scoring",
    "load": "cxr.api.model",
    "score": "cxr.api.scoring",
    "score_maps": "cxr.api.maps",
}

if not TYPE_CHECKING:  # a type checker knows the names from above, and no others

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'cxr' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
