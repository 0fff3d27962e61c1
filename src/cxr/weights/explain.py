"""Why a backbone does not fit a file, in words: what the file looks like, and one of its names beside one of ours."""

import difflib
import re
from collections.abc import Iterable, Sequence

from cxr.console import count
from cxr.weights.choose import choose, fits_of_choice, list_fits
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile
from cxr.weights.layout import OTHERS, SUPPORTED, Fit, Layout, find_fits, layout_of
from cxr.weights.match import Match, account

_NAMED, _COMPARED = 2, 1_000
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


def match_backbone(file: WeightFile, backbone: str, beside: Sequence[Fit] = ()) -> Match:
    """The file's tensors matched with a backbone; none of them is read yet. `beside` are networks of other kinds.

    Raises:
        WeightsError: It does not stand whole in the file, or more than once.
    """
    layout = layout_of(backbone)
    fits = find_fits(file, layout)
    if not any(fit.is_whole for fit in fits):
        raise explain(file, layout, fits)
    fit, others = choose(file, layout, fits)
    others["another network"] += beside
    return account(file, layout, fit, others)


def find_backbone(file: WeightFile) -> Match:
    """The file's tensors matched with the backbone that stands in it.

    Raises:
        WeightsError: None of the supported ones does, or more than one.
    """
    every = {name: find_fits(file, layout_of(name)) for name in SUPPORTED}
    whole = [
        name for name, fits in every.items() if any(fit.is_whole for fit in fits_of_choice(fits, file.choice))
    ]
    if len(whole) > 1:
        networks = ", ".join(f"{name} ({list_fits(every[name])})" for name in whole)
        hint = f"say which, such as {file.path}#{list_fits(every[whole[0]][:1])}"
        raise WeightsError(f"holds networks of several kinds: {networks}", hint)
    if not whole:  # the one that comes nearest explains it
        whole = [max(SUPPORTED, key=lambda name: max((fit.num_fitting for fit in every[name]), default=0))]
    beside = [fit for name, fits in every.items() if name != whole[0] for fit in fits if fit.is_whole]
    return match_backbone(file, whole[0], beside)


def explain(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> WeightsError:
    """The error for a file in which the backbone does not stand whole; `fits` is where most of it stands."""
    if not file.tensors and any(name.startswith("numpy.") for name in file.classes):
        return WeightsError(
            "holds NumPy arrays, not tensors", "save them as tensors: torch.from_numpy(array)"
        )
    if not file.tensors:
        return WeightsError("holds no tensors", "give a file that torch.save(model.state_dict(), ...) wrote")
    others = [name for name in (*SUPPORTED, *OTHERS) if name != layout.name and _stands(file, name)]
    if others:
        what = f"holds the tensors of a {' and of a '.join(others)}, not of a {layout.name}"
        mends = [name for name in others if name in SUPPORTED]
        hint = f"set model.backbone={mends[0]}" if mends else f"cxr has {', '.join(SUPPORTED)}"
        return WeightsError(what, f"{hint}; {_compare(file, layout, fits)}")
    if not fits or not fits[0].num_fitting:
        return WeightsError(_nothing(file, layout), _compare(file, layout, fits))
    return WeightsError(_in_part(file, layout, fits[0]), _compare(file, layout, fits))


def _stands(file: WeightFile, name: str) -> bool:
    return any(fit.is_whole for fit in find_fits(file, layout_of(name)))


def _nothing(file: WeightFile, layout: Layout) -> str:
    """What to say where no tensor fits."""
    for pattern, likeness in _LIKENESS:
        if any(re.search(pattern, name) for name in file.tensors):
            return f"looks like a {likeness}: none of its tensors fits a {layout.name}"
    return f"none of its tensors fits a {layout.name} ({count(len(file.tensors), 'tensor')})"


def _in_part(file: WeightFile, layout: Layout, fit: Fit) -> str:
    """What fits, and what of the rest is missing, of another shape or one too many."""
    said = []
    if fit.misshapen:
        shapes = [f"{visible(fit.names[name])} is {_shape(file.tensors[fit.names[name]].shape)}, "
                  f"a {layout.name} has {_shape(layout.shapes[name])}" for name in fit.misshapen]  # fmt: skip
        said.append(f"{len(shapes)} of another shape ({_first(shapes, '; ')})")
    if fit.missing:
        said.append(f"{len(fit.missing)} missing ({_first(fit.prefix + name for name in fit.missing)})")
    if fit.extra:
        said.append(f"{len(fit.extra)} that a {layout.name} does not have ({_first(fit.extra)})")
    return f"does not fit a {layout.name}: {fit.num_fitting} of {len(layout.shapes)} tensors match; {'; '.join(said)}"


def _compare(file: WeightFile, layout: Layout, fits: Sequence[Fit]) -> str:
    """One name of the file beside one of ours: a tensor that is wrong, and the name that comes nearest to it."""
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
        weights = [name for name, place in file.tensors.items() if len(place.shape) == 4] or list(
            file.tensors
        )
        theirs, name = weights[0], layout.stem
    ours = layout.ours.removeprefix("backbone.") + name
    shape = _shape(file.tensors[theirs].shape)
    return f"the file has {visible(theirs)} {shape}, a {layout.name} has {ours} {_shape(layout.shapes[name])}"


def _nearest(name: str, names: Sequence[str]) -> str:
    """The most similar of some names; of a hostile file's many and long ones, of the first."""
    short = {one[-_COMPARED:]: one for one in reversed(names[:_COMPARED])}
    return short[difflib.get_close_matches(name[-_COMPARED:], list(short), 1, 0.0)[0]]


def _first(texts: Iterable[str], between: str = ", ") -> str:
    every = list(texts)
    return between.join(
        [*(visible(text, 200) for text in every[:_NAMED]), *(["..."] if len(every) > _NAMED else [])]
    )


def _shape(sizes: Iterable[int]) -> str:
    """As [64, 3, 7, 7]; a hostile file may name any number of sizes."""
    return visible(str(list(sizes)), 60)
