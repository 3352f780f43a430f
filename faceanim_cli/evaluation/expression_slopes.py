"""How far a result follows the driver's expression: slopes and correlations, by landmarks of another network.

For each measure of a face, such as how far its mouth is open, the slope of the result on the driver: 1 is
full following, 0 none. Each clip counts from its own mean, so that faces of different build do not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceanim_cli.errors import FaceanimError
from faceanim_cli.evaluation.batch import Batch
from faceanim_cli.evaluation.statistics import interval
from faceanim_cli.pictures import Points

# By measure, the least standard deviation over a clip's frames: a driver that moves less tells nothing.
MEASURES: Mapping[str, float] = {
    "mouth_open": 0.03,  # inner lips, in distances of the outer eye corners
    "mouth_width": 0.02,  # mouth corners, likewise
    "lids": 0.04,  # opening of the eyes, in eye widths
    "brows": 0.01,  # height over the outer eye corners, in distances of these
    "gaze_x": 0.03,  # iris, from the middle between an eye's corners, in eye widths
    "gaze_y": 0.02,
    "yaw": 0.02,  # share of the jaw's width on one side of the nose tip
    "pitch": 0.01,  # share of the nose's bridge in the way from its root to the chin
    "roll": 0.03,  # radians
}
FEWEST_FRAMES = 9
LANDMARKS, IRISES = 68, (68, 69)  # of the picture's left and right eye, where the detector gives them
DRIVER = "driver_"


@np.errstate(divide="ignore", invalid="ignore")  # points that coincide are no face: NaN
def expression_measures(points: Points) -> Points:
    """``MEASURES`` (N, 9) of faces (N, 68, 2) or, with irises, (N, 70, 2), in pixels; else gaze is NaN."""
    p = points.astype(np.float64)

    def distance(i: int, j: int) -> Points:
        return np.asarray(np.linalg.norm(p[:, i] - p[:, j], axis=-1))

    eyes = distance(36, 45)
    across = (p[:, 45] - p[:, 36]) / eyes[:, None]
    up = np.stack([across[:, 1], -across[:, 0]], axis=-1)
    lids = [
        (distance(a, d) + distance(b, c)) / 2 / distance(*corners)
        for (a, b, c, d), corners in (((37, 38, 40, 41), (36, 39)), ((43, 44, 46, 47), (42, 45)))
    ]
    brows = [((p[:, brow] - p[:, corner]) * up).sum(-1) / eyes for brow, corner in ((19, 36), (24, 45))]
    gaze = [np.full((len(p), 2), np.nan)]
    if points.shape[1] > LANDMARKS:
        gaze = []
        for iris, i, j in ((IRISES[0], 36, 39), (IRISES[1], 42, 45)):
            offset = (p[:, iris] - (p[:, i] + p[:, j]) / 2) / distance(i, j)[:, None]
            gaze.append(np.stack([(offset * across).sum(-1), (offset * up).sum(-1)], axis=-1))
    columns = (
        *(distance(62, 66) / eyes, distance(48, 54) / eyes, np.mean(lids, 0), np.mean(brows, 0)),
        *np.mean(gaze, axis=0).T,
        *(distance(30, i) / (distance(30, i) + distance(30, j)) for i, j in ((0, 16), (27, 8))),
        np.arctan2(across[:, 1], across[:, 0]),
    )
    return np.stack(columns, axis=-1)


def slopes(batch: Batch) -> dict[str, list[float]]:
    """Slope of the result's mouth, lids, brows, gaze and head on the driver's: 1 is full following (ours).

    Returns:
        By measure, the result's and the driver's value of each frame, NaN where there is no face: by landmark
        files where both have them, else by the detector, which must not be under test.

    Raises:
        FaceanimError: neither is there.
    """
    if batch.results.landmarks is not None and batch.driving.landmarks is not None:
        results, driving = map(expression_measures, (batch.results.landmarks, batch.driving.landmarks))
    elif batch.networks.landmarks is not None and batch.networks.landmarks.independent:
        results, driving = map(expression_measures, (batch.results.detected, batch.driving.detected))
        results[~batch.results.has_face] = np.nan
    else:
        raise FaceanimError("slopes need landmark files of both the prediction and the truth")
    return {
        **dict(zip(MEASURES, results.T.tolist(), strict=True)),
        **dict(zip(map(DRIVER.__add__, MEASURES), driving.T.tolist(), strict=True)),
    }


@dataclass(frozen=True)
class Slope:
    """Result on driver, pooled within clips.

    Attributes:
        low, high: the slope's 95 % interval, as ``statistics.interval`` gives it.
        clips: those whose driver moves enough; people: whose they are.
    """

    slope: float
    low: float
    high: float
    correlation: float
    clips: int
    people: int


def pooled_slopes(
    frames: Mapping[str, Sequence[Mapping[str, Any]]], people: Mapping[str, str], seed: int = 0
) -> dict[str, Slope]:
    """A slope for each measure in which any driver moves.

    Args:
        frames: by clip, the values of its frames as :func:`slopes` gives them, by column.
        people: by clip, whose it is.
    """
    found = {}
    for name, least in MEASURES.items():
        sums: dict[str, tuple[float, float, float]] = {}
        for clip, rows in frames.items():
            pairs = np.array([(row[DRIVER + name], row[name]) for row in rows], np.float64).reshape(-1, 2)
            pairs = pairs[np.isfinite(pairs).all(-1)]
            if len(pairs) >= FEWEST_FRAMES and pairs[:, 0].std() > least:
                x, y = (pairs - pairs.mean(0)).T
                sums[clip] = (float(x @ x), float(x @ y), float(y @ y))
        if sums:
            xx, xy, yy = np.array(list(sums.values())).T
            persons = [people[clip] for clip in sums]
            low, high = interval(xy.tolist(), xx.tolist(), persons, seed)
            spread = float(np.sqrt(xx.sum() * yy.sum()))
            found[name] = Slope(
                slope=float(xy.sum() / xx.sum()),
                low=low,
                high=high,
                correlation=float(xy.sum()) / spread if spread else float("nan"),
                clips=len(sums),
                people=len(set(persons)),
            )
    return found
