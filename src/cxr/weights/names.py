"""What the names of tensors say: words of training, losses and counters, and what stands beside a network."""

import re

from cxr.weights.layout import Fit, Layout

RECORDS = re.compile(r"^(mean|std|logit_shift|patients\..*|images\..*|familiarity\..*)$")
"""What a checkpoint of cxr holds beside its weights."""
TRAINING = re.compile(r"optim|sched|(^|[._])(opt|rng|callbacks|loops)([._]|$)", re.I)
MOMENTS = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|momentum_buffer|square_avg|param_groups)(\.|$)")
LOSS = re.compile(r"loss|criterion|pos_?weight|class_?weight|metric|auroc|accuracy", re.I)
COUNTER = re.compile(r"(^|[._])(best|acc|auc|score|epoch|step|lr|version|num|count|n|averaged)([._]|$)", re.I)
OPERATING_POINTS = re.compile(r"(^|\.)op_threshs$")  # of torchxrayvision
PROJECTION = re.compile(r"project|predictor|proto|(^|[._])(proj|queue|queue_ptr|center|mlp)([._]|$)", re.I)
"""Of self-supervised training."""

_NO_PART = (MOMENTS, TRAINING, LOSS, PROJECTION, COUNTER, OPERATING_POINTS)
_NO_COMPUTATION = (LOSS, COUNTER, OPERATING_POINTS, TRAINING)


def may_be_part(name: str) -> bool:
    """Whether a tensor may belong to a network, such as its head: no word of its name speaks against it."""
    return not any(pattern.search(name) for pattern in _NO_PART)


def may_compute(name: str) -> bool:
    """Whether an attribute of a module may change what it computes: it is none of a loss or a count."""
    return not any(pattern.search(name) for pattern in _NO_COMPUTATION)


def shared_start(name: str, prefix: str) -> str:
    """The segments with which a name and a prefix both begin: `a.b.` of `a.b.fc.weight` and `a.b.net.`."""
    shared = ""
    for segment in prefix.split(".")[:-1]:
        if not name.startswith(f"{shared}{segment}."):
            break
        shared += segment + "."
    return shared


def home_of(fit: Fit, layout: Layout) -> str:
    """The prefix of the network's parts, without `features.` of a DenseNet, beside which its head stands."""
    return fit.prefix.removesuffix("features.") if layout.name.startswith("densenet") else fit.prefix
