"""Who is trained on and who judges: by person, never by clip."""

import hashlib
from collections.abc import Iterable, Mapping


def split_people(
    people: Iterable[str], val_share: float, seed: int, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each person's split, train or val.

    The draw depends on names and seed alone, not on order or machine. People in ``known`` keep their split,
    so that data may grow: nobody who was trained on becomes a judge. From two people on at least one judges,
    unless ``val_share`` is 0.

    Args:
        people: names, in any order, repeated or not.
        val_share: of the people, 0 to 1.
        seed: of the draw.
        known: splits from before.
    """
    names = sorted(set(people))
    splits = {name: known[name] for name in names if name in known} if known else {}
    new = sorted((name for name in names if name not in splits), key=lambda name: _draw(seed, name))
    wanted = round(val_share * len(names))
    if val_share > 0 and len(names) > 1:
        wanted = min(max(wanted, 1), len(names) - 1)
    judges = max(0, wanted - sum(split == "val" for split in splits.values()))
    if len(new) == len(names):
        judges = min(judges, max(len(names) - 1, 0))  # somebody must be trained on
    return splits | {name: "val" if place < judges else "train" for place, name in enumerate(new)}


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).hexdigest()
