"""The backbone in a file: the one that is asked for, or the one that is there."""

from collections.abc import Sequence

from cxr.weights.choose import choose, fits_of_choice, list_fits
from cxr.weights.errors import WeightsError
from cxr.weights.explain import explain
from cxr.weights.files import WeightFile
from cxr.weights.layout import SUPPORTED, Fit, find_fits, layout_of
from cxr.weights.match import Match, account


def match_backbone(file: WeightFile, backbone: str, other_networks: Sequence[Fit] = ()) -> Match:
    """The file's tensors matched with a backbone; none of them is read yet.

    Args:
        file: The file.
        backbone: As torchvision calls it.
        other_networks: Networks of other kinds in the file, whose tensors are left out.

    Raises:
        WeightsError: The backbone is not whole in the file, or is in it more than once.
    """
    layout = layout_of(backbone)
    fits = find_fits(file, layout)
    if not any(fit.is_whole for fit in fits):
        raise explain(file, layout, fits)
    fit, others = choose(file, layout, fits)
    others["another network"] += other_networks
    return account(file, layout, fit, others)


def find_backbone(file: WeightFile) -> Match:
    """The file's tensors matched with the backbone that is in it.

    Raises:
        WeightsError: None of the supported ones is, or more than one.
    """
    fits = {name: find_fits(file, layout_of(name)) for name in SUPPORTED}
    found = [name for name in SUPPORTED
             if any(fit.is_whole for fit in fits_of_choice(fits[name], file.choice))]  # fmt: skip
    if len(found) > 1:
        networks = ", ".join(f"{name} ({list_fits(fits[name])})" for name in found)
        hint = f"say which, such as {file.path}#{list_fits(fits[found[0]][:1])}"
        raise WeightsError(f"holds networks of several kinds: {networks}", hint)
    if found:
        backbone = found[0]
    else:  # `match_backbone` explains why the nearest backbone does not fit
        num_fitting = {name: max((fit.num_fitting for fit in fits[name]), default=0) for name in SUPPORTED}
        backbone = max(SUPPORTED, key=lambda name: num_fitting[name])
    others = [fit for name in SUPPORTED if name != backbone for fit in fits[name] if fit.is_whole]
    return match_backbone(file, backbone, others)
