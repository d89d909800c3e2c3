"""Why a line has no difference to its baseline although that was run, in a few words."""

from __future__ import annotations

from collections.abc import Mapping

from sar_cls.reporting.groups import Group, Recipe

# Field of a recipe -> what a reader knows it by.
_NAMES = {
    "epochs": "length",
    "epochs_recipe": "length",
    "unit": "length",
    "overrides": "options",
    "settings": "settings",
    "data": "images",
    "precision": "precision",
    "imbalance": "imbalance factor",
}


def why_unpaired(group: Group, groups: Mapping[str, list[Group]]) -> str:
    """How the runs of its baseline row were made, so that a group is not compared with them; "" where there are none.

    Args:
        group: the runs of a row for which ``baseline_of`` has found none.
        groups: row name -> its groups.
    """
    candidates = groups.get(group.row.baseline or "", [])
    if not candidates or (group.recipe.stage1 is not None and candidates[0].row.stage == 1):
        return ""  # a second stage beside its own first stage: the label says that this is not here
    nearest = min((_others(group.recipe, other.recipe) for other in candidates), key=len)
    if not nearest:
        return "with other seeds"
    return f"by another recipe ({', '.join(nearest)})"


def _others(ours: Recipe, theirs: Recipe) -> list[str]:
    """In what two recipes differ that must be equal for a comparison."""
    one, other = ours.comparable, theirs.comparable
    found = dict.fromkeys(name for field, name in _NAMES.items() if getattr(one, field) != getattr(other, field))
    if ours.stage1 is not None and theirs.stage1 is not None:
        found |= dict.fromkeys(f"{name} of stage 1" for name in _others(ours.stage1, theirs.stage1))
    return list(found)
