"""``faceanim weights export``: the animation networks for those who run them elsewhere, as ONNX.

A folder with three graphs, ``model.json`` for programs and ``README.md`` for people.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanim_cli import __version__
from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.faces.framing import FRAME_SCALE
from faceanim_cli.files import file_sha256, parse_json
from faceanim_cli.media.atomic_file import remove_leftovers, whole_folder
from faceanim_cli.media.output_checks import check_folder_of_ours
from faceanim_cli.media.own_files import LITTER
from faceanim_cli.weights.catalogue import SUPER_RESOLUTION, shipped_weights
from faceanim_cli.weights.inspect import WeightsDescription, identify

if TYPE_CHECKING:
    from faceanim_cli.weights.onnx_graphs import Graph
    from faceanim_models import AnimationModel

NAMES = ("photo.onnx", "motion.onnx", "generator.onnx", "model.json", "README.md")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

CHAIN = (
    "photo.onnx, once: the photo's crop -> its tensors",
    "motion.onnx, for driving frames: their crops -> keypoints",
    "between them, relative motion: where the photo's keypoints go when they move as the driver's have since "
    "a frame that shows the photo's pose and expression; of the same person they are passed on as they are",
    "generator.onnx, for driving frames: crop and tensors of one photo, and keypoints -> frames",
)
CONVENTIONS = {
    "images": "float32, RGB, 0 black to 1 white as sRGB pixels are stored, (batch, 3, height, width)",
    "points": "float32, x right and y down; -1 is the centre of the first pixel, 1 that of the last",
    "crop": f"a square around the face, {FRAME_SCALE:g} times as wide as its box by Viola-Jones, for a clip "
    "the same in all frames; resized to image_size, by area where it shrinks",
    "rigidity": "how much each keypoint says about where the head is, for relative motion",
    "anchors": "the landmarks (of the usual 68; 68 and 69 are the pupils) that each keypoint is the mean of; "
    "keypoints after those are free: shoulders, hair, what is behind",
    "openvino": "give graphs a fixed batch (model.reshape): without, its 2026.4 refuses two of them",
}


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    difference: float  # from torch, at most, of any number


def check_export(folder: Path) -> None:
    """Make sure that an export can be written there, and that what it takes is installed.

    Raises:
        UsageError: other files are there, the place cannot be written, or packages are missing.
    """
    check_folder_of_ours(folder, _first_foreign)
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: pip install 'faceanim-cli[onnx]'")


def _first_foreign(folder: Path) -> str | None:
    names = sorted(file.name for file in folder.iterdir())
    return next((name for name in names if not (name in NAMES or LITTER.fullmatch(name))), None)


def check_network(name: str | Path, network: str) -> None:
    """Raises WeightsError for weights, called ``name``, of other networks than our own that animate."""
    if network != "animation":
        raise WeightsError(f"{name}: a {network} network; only faceanim's own that animate are exported")


def is_export(folder: Path) -> bool:
    """Whether nothing is lost by writing an export there: nothing is there, or an export of ours."""
    try:
        if not folder.is_dir() or not any(folder.iterdir()):
            return not folder.is_file()
        return "faceanim" in parse_json((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def export_weights(
    weights: Path, folder: Path, *, sr: bool = False, report: Callable[[str], None] = lambda line: None
) -> Export:
    """Write the graphs of animation weights and what describes them; whole or not at all.

    Each file is run by onnxruntime and compared with the network before the folder takes its name.

    Args:
        weights: a file of ours; another project's networks are not exported.
        folder: replaced if it is there.
        sr: frames go through the super-resolution network that ships, and are twice as large.
        report: told what is being done.

    Raises:
        UsageError: as ``check_export``.
        WeightsError: other weights.
        FaceanimError: torch cannot export them, or exports something else.
    """
    check_export(folder)
    known = identify(weights)
    check_network(weights, known.network)
    from faceanim_cli.weights.checkpoint import load_checkpoint  # noqa: PLC0415 (imports torch)
    from faceanim_cli.weights.onnx_graphs import build_graphs, compare, write_graph  # noqa: PLC0415
    from faceanim_models import AnimationModel, FaceSuperResolver  # noqa: PLC0415

    model = load_checkpoint(weights, "animation")
    resolver = load_checkpoint(shipped_weights(SUPER_RESOLUTION), "super-resolution") if sr else None
    assert isinstance(model, AnimationModel)
    assert resolver is None or isinstance(resolver, FaceSuperResolver)
    remove_leftovers(folder)
    graphs = build_graphs(model, resolver)
    facts = _facts(model, known, sr)
    tags = {"faceanim": __version__, "licence": facts["licence"], "weights_sha256": facts["weights_sha256"]}
    with whole_folder(folder) as partial:
        for graph in graphs:
            report(f"{graph.name}.onnx: {graph.about}")
            write_graph(graph, partial / f"{graph.name}.onnx", tags)
        report("comparing onnxruntime with torch")
        difference = compare(graphs, partial)
        facts["graphs"] = {graph.name: _described(graph, partial) for graph in graphs}
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        (partial / "model.json").write_text(text + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_readme(facts), encoding="utf-8")
    return Export(folder, difference)


def _facts(model: "AnimationModel", known: WeightsDescription, sr: bool) -> dict[str, Any]:
    """What ``model.json`` says, but for the graphs."""
    from faceanim_cli.motion.transfer import rigid_weights  # noqa: PLC0415 (imports torch)

    settings = model.settings
    rigidity = rigid_weights(settings.anchors, settings.keypoints.num_keypoints).tolist()
    rigidity += [0.0] * settings.motion.free_keypoints
    return {
        "faceanim": __version__,
        "weights_sha256": known.sha256,
        "super_resolution_sha256": file_sha256(shipped_weights(SUPER_RESOLUTION)) if sr else None,
        "licence": known.licence or "not stated",
        "image_size": settings.image_size,
        "result_size": settings.image_size * (2 if sr else 1),
        "chain": CHAIN,
        "conventions": CONVENTIONS,
        "rigidity": rigidity,
        "anchors": settings.anchors,
    }


def _described(graph: "Graph", folder: Path) -> dict[str, Any]:
    """A graph's file and tensors, as JSON values."""
    from faceanim_cli.weights.onnx_graphs import about  # noqa: PLC0415 (imports torch)

    file = folder / f"{graph.name}.onnx"

    def tensor(name: str, shape: Sequence[int]) -> dict[str, Any]:
        rows = graph.rows if name in graph.batched else 1
        return {"name": name, "shape": [rows, *shape[1:]], "about": about(name)}

    return {
        "file": file.name,
        "sha256": file_sha256(file),
        "about": graph.about,
        "inputs": [tensor(name, value.shape) for name, value in graph.inputs.items()],
        "outputs": [tensor(name, shape) for name, shape in graph.outputs.items()],
    }


def _readme(facts: dict[str, Any]) -> str:
    """``model.json`` for people."""
    lines = [
        "# A photo animated by a driving video, as ONNX graphs",
        "",
        f"Written by faceanim {facts['faceanim']}; weights sha256 {facts['weights_sha256']}, licence "
        f"{facts['licence']}. Animate people who have agreed to it, and say of results that AI made them.",
        "",
        *(f"{number}. {step}." for number, step in enumerate(facts["chain"], 1)),
        "",
        *(f"- **{name}**: {text}." for name, text in facts["conventions"].items()),
        "",
        "`model.json` says the same to programs, with anchors and rigidity of the keypoints. In faceanim's "
        "repository `examples/onnx_animate.py` runs the graphs with numpy, OpenCV, imageio and onnxruntime.",
    ]
    for graph in facts["graphs"].values():
        lines += ["", f"## {graph['file']}", "", graph["about"], "", "| | shape | |", "|---|---|---|"]
        for way in ("inputs", "outputs"):
            for tensor in graph[way]:
                shape = " x ".join(map(str, tensor["shape"]))
                lines.append(f"| {way[:-1]} `{tensor['name']}` | {shape} | {tensor['about']} |")
    return "\n".join(lines) + "\n"
