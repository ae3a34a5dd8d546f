"""What TensorBoard calls scalars: in groups, where scalars.jsonl has plain names."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "discriminator": ("d_real", "d_fake", "d_hard", "d_accuracy", "sample_diversity"),
    "pseudo_labels": (
        "self_taught_share",
        "self_taught_accuracy",
        "self_taught_confidence",
        "self_taught_ece",
        "trusted_share",
        "labelled_accuracy",
        "confident_share",
        "strong_agreement",
        "teacher_agreement",
        "agreement",
        "foreground_share",
    ),
    "score": ("tag_precision", "tag_recall", "chosen_iou", "chosen_share"),
    "speed": ("images_per_second",),
}
"""Group -> scalars of these names. Losses, scores and what is of a player have names of a form."""

OF_PLAYERS = ("lr", "gradient_norm", "update_ratio", "weight_growth")
"""Scalars of a player, as `<name>/<player>`: the group "optimiser"."""

OTHERS = "other"
"""Group of names that are in no other, such as those of a method from outside."""

_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def tag_of(name: str) -> str:
    """The tag of a scalar, "<group>/<name>".

    `loss_x` is loss/x. `<where>/miou` is score/miou on <where>, and `<where>_iou/<class>`
    score_by_class/<class> on <where>; of the final scores, which are `score` and `score_iou`,
    the place is left out.

    Args:
        name: in scalars.jsonl or speed.jsonl.
    """
    if name in _GROUP_OF:
        return f"{_GROUP_OF[name]}/{name}"
    if name.startswith("loss"):
        return f"loss/{name.removeprefix('loss_')}"
    kind, slash, rest = name.partition("/")
    if kind in OF_PLAYERS and slash:
        return f"optimiser/{name}"
    if kind == "score" and slash:
        return name
    if kind.endswith("_iou") and slash:
        where = kind.removesuffix("_iou")
        return f"score_by_class/{rest}" + ("" if where == "score" else f" on {where}")
    if rest == "miou":
        return f"score/miou on {kind}"
    return f"{OTHERS}/{name}"
