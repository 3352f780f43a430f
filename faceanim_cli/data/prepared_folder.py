"""Prepares folders of videos for training on first use, into ``<folder>-prepared``."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from faceanim_cli.data.data_folder import MANIFEST, has_manifest
from faceanim_cli.data.prepare import PreparationSettings, prepare
from faceanim_cli.data.sources import find_sources
from faceanim_cli.pictures import Progress

SUFFIX = "-prepared"
LOOK_EVERY = 1.0  # seconds

log = logging.getLogger(__name__)


def prepared_folder(
    data: Path,
    settings: PreparationSettings | None = None,
    report: Callable[[str], None] = log.info,
    progress: Progress | None = None,
) -> Path:
    """The data folder for ``data``: itself if it has a manifest, else ``<data>-prepared`` beside it.

    That is made by ``prepare`` unless it is there, going on where an earlier attempt was stopped. Of several
    processes, as torchrun starts them, the first prepares and the others wait.

    Args:
        data: a data folder, or whatever ``prepare`` takes.
        settings: of the preparation.
        report: told what is done, in lines for people.
        progress: as ``prepare``'s.

    Raises:
        FaceanimError: as ``prepare``.
    """
    if has_manifest(data):
        return data
    whole = data.resolve()  # "." has no name
    beside = whole.with_name(whole.name + SUFFIX)
    if has_manifest(beside):
        report(f"{data} was prepared before: {beside}; faceanim prepare {data} -o {beside} adds new videos")
    elif _first_process():
        count = len(find_sources([data]))  # raises where there is nothing to prepare
        report(f"{data} has no {MANIFEST}: its videos are prepared first ({count}), into {beside}")
        report(str(prepare([data], beside, settings or PreparationSettings(), report, progress)))
    else:
        while not has_manifest(beside):  # should the first fail, its launcher ends us
            time.sleep(LOOK_EVERY)
    return beside


def _first_process() -> bool:
    """Of all that torchrun or lightning-fabric have started, on all nodes."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "NODE_RANK", "LOCAL_RANK"))
