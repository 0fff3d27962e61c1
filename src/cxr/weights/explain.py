"""Why a backbone does not fit a file: what the file may be, and one of its names beside one of ours."""

import difflib
import re
from collections.abc import Iterable, Sequence

from cxr.console import count
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile
from cxr.weights.layout import OTHERS, SUPPORTED, Fit, Layout, find_fits, layout_of

_MAX_LISTED, _MAX_COMPARED = 2, 1_000
_LIKENESS = (
    (
        r"(^|\.)(blocks\.\d+\.attn\.qkv|encoder_layer_\d+\.self_attention|encoder\.layer\.\d+\.attention)",
        "transformer",
    ),
    (r"(^|\.)layers\.\d+\.blocks\.\d+\.attn", "Swin transformer"),
    (r"(^|\.)_blocks\.\d+\._(depthwise|project)_conv", "EfficientNet"),
    (r"(^|\.)blocks\.\d+\.\d+\.(conv_dw|conv_pw)", "EfficientNet or MobileNet of timm"),
    (r"(^|\.)Mixed_\d[a-z]\.", "Inception network"),
    (r"(^|\.)embedder\.(embedder\.)?convolution\.", "ResNet under the names of transformers"),
)
"""Names that only one kind of network has."""


def explain(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> WeightsError:
    """The error for a file in which the backbone does not stand whole; `fits` is where most of it stands."""
    if not file.tensors and any(name.startswith("numpy.") for name in file.classes):
        return WeightsError(
            "holds NumPy arrays, not tensors", "save them as tensors: torch.from_numpy(array)"
        )
    if not file.tensors:
        return WeightsError("holds no tensors", "give a file that torch.save(model.state_dict(), ...) wrote")
    others = []
    # first the likeliest mistake: another backbone that we have
    for name in (*SUPPORTED, *OTHERS):
        if name != layout.name and any(fit.is_whole for fit in find_fits(file, layout_of(name))):
            others.append(name)
    if others:
        problem = f"holds the tensors of a {' and of a '.join(others)}, not of a {layout.name}"
        supported = [name for name in others if name in SUPPORTED]
        hint = f"set model.backbone={supported[0]}" if supported else f"cxr has {', '.join(SUPPORTED)}"
        return WeightsError(problem, f"{hint}; {_compare(file, layout, fits)}")
    # nothing fits: names that only one kind of network has may say what it is
    if not fits or not fits[0].num_fitting:
        return WeightsError(_describe_other(file, layout), _compare(file, layout, fits))
    return WeightsError(_describe_fit(file, layout, fits[0]), _compare(file, layout, fits))


def _describe_other(file: WeightFile, layout: Layout) -> str:
    """What a file may be of which no tensor fits."""
    for pattern, likeness in _LIKENESS:
        if any(re.search(pattern, name) for name in file.tensors):
            return f"looks like a {likeness}: none of its tensors fits a {layout.name}"
    return f"none of its tensors fits a {layout.name} ({count(len(file.tensors), 'tensor')})"


def _describe_fit(file: WeightFile, layout: Layout, fit: Fit) -> str:
    """What fits, and which of the other tensors are missing, have another shape or are unknown."""
    parts = []
    if fit.misshapen:
        shapes = []
        for name in fit.misshapen:
            theirs = fit.names[name]
            shape, ours = _shape(file.tensors[theirs].shape), _shape(layout.shapes[name])
            shapes.append(f"{visible(theirs)} is {shape}, a {layout.name} has {ours}")
        parts.append(f"{len(shapes)} of another shape ({_first(shapes, '; ')})")
    if fit.missing:
        parts.append(f"{len(fit.missing)} missing ({_first(fit.prefix + name for name in fit.missing)})")
    if fit.extra:
        parts.append(f"{len(fit.extra)} that a {layout.name} does not have ({_first(fit.extra)})")
    matching = f"{fit.num_fitting} of {len(layout.shapes)} tensors match"
    return f"does not fit a {layout.name}: {matching}; {'; '.join(parts)}"


def _compare(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> str:
    """A name of the file beside a name of ours: a tensor that does not fit, and the most similar name."""
    fit = fits[0] if fits and fits[0].num_fitting else None
    if fit and fit.misshapen:
        name = fit.misshapen[0]
        theirs = fit.names[name]
    elif fit and fit.extra:
        theirs = fit.extra[0]
        name = _nearest(theirs, fit.missing or list(layout.shapes))
    elif fit and fit.missing:
        name = fit.missing[0]
        theirs = _nearest(fit.prefix + name, list(file.tensors))
    else:
        # nothing fits: the file's first convolution, or its first tensor, beside our first convolution
        convolutions = [name for name, stored in file.tensors.items() if len(stored.shape) == 4]
        theirs, name = [*convolutions, *file.tensors][0], layout.stem
    ours = layout.ours.removeprefix("backbone.") + name
    shape = _shape(file.tensors[theirs].shape)
    return f"the file has {visible(theirs)} {shape}, a {layout.name} has {ours} {_shape(layout.shapes[name])}"


def _nearest(name: str, names: Sequence[str]) -> str:
    """The most similar of some names; of a hostile file's many and long names the first are compared."""
    # by the end of the name, where names of the same layer agree
    by_end = {other[-_MAX_COMPARED:]: other for other in reversed(names[:_MAX_COMPARED])}
    nearest = difflib.get_close_matches(name[-_MAX_COMPARED:], list(by_end), n=1, cutoff=0.0)
    return by_end[nearest[0]]


def _first(texts: Iterable[str], between: str = ", ") -> str:
    """The first two texts, and dots where there are more."""
    every = list(texts)
    more = ["..."] if len(every) > _MAX_LISTED else []
    return between.join([*(visible(text, 200) for text in every[:_MAX_LISTED]), *more])


def _shape(sizes: Iterable[int]) -> str:
    """As [64, 3, 7, 7]; a hostile file may name any number of sizes."""
    return visible(str(list(sizes)), 60)
