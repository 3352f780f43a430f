"""Animate a photo by a driving video with the graphs of ``faceanim weights export``; no torch, no faceanim.

Photo and driver are cropped already: squares around the face, framed as ``model.json`` says. Needs numpy,
opencv-python, imageio with imageio-ffmpeg, and onnxruntime. The result is silent.

    faceanim weights export animation -o onnx
    python examples/onnx_animate.py onnx photo.png driver.mp4 -o out.mp4
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np
from onnxruntime import InferenceSession, SessionOptions

SAYS = "AI-generated: a photo animated by faceanim {}, as ONNX graphs, weights {}"


class Animation:
    """The three graphs in a row, for one photo (H, W, 3), uint8 RGB."""

    def __init__(self, folder: Path, photo: np.ndarray, threads: int = 0) -> None:
        self.about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.side = self.about["image_size"]
        options = SessionOptions()
        options.intra_op_num_threads = threads
        photo_graph, self.motion, self.generator = (
            InferenceSession(folder / f"{name}.onnx", options) for name in ("photo", "motion", "generator")
        )
        self.known = {"photo": self.pixels([photo])}
        names = [output.name for output in photo_graph.get_outputs()]
        self.known |= dict(zip(names, photo_graph.run(None, self.known), strict=True))

    def pixels(self, images: list[np.ndarray]) -> np.ndarray:
        """uint8 (H, W, 3) to float32 (B, 3, side, side) in [0, 1]."""
        shrunk = [
            cv2.resize(
                image,
                (self.side, self.side),
                interpolation=cv2.INTER_AREA if len(image) > self.side else cv2.INTER_CUBIC,
            )
            for image in images
        ]
        return np.ascontiguousarray(np.stack(shrunk).transpose(0, 3, 1, 2), np.float32) / 255

    def keypoints(self, frames: list[np.ndarray]) -> np.ndarray:
        """(B, K, 2) of driving frames."""
        return self.motion.run(None, {"frames": self.pixels(frames)})[0]

    def paint(self, keypoints: np.ndarray) -> np.ndarray:
        """Frames, uint8 (B, H, W, 3), of the photo's person with those keypoints."""
        (frames,) = self.generator.run(None, {**self.known, "keypoints": keypoints.astype(np.float32)})
        return (frames.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)

    def follow(self, driving: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Where the photo's keypoints go when they move as the driver's have since ``reference`` (K, 2).

        What a similarity explains, turning, shifting and coming nearer, moves the photo's head as a whole;
        the rest, its expression, is added in face sizes. Of complex numbers a similarity is a product.
        """
        weights = np.array(self.about["rigidity"])
        weights /= weights.sum()
        source, rest, now = (
            p[..., 0] + 1j * p[..., 1] for p in (self.known["photo_keypoints"][0], reference, driving)
        )
        centre, rest_centre, now_centre = (p @ weights for p in (source, rest, now))
        source, rest, now = source - centre, rest - rest_centre, now - now_centre[:, None]
        turn = (weights * now * rest.conj()).sum(1) / (weights @ np.abs(rest) ** 2)
        ratio = np.sqrt((weights @ np.abs(source) ** 2) / (weights @ np.abs(rest) ** 2))
        expression = now - turn[:, None] * rest
        moved = (
            turn[:, None] * source + ratio * expression + centre + ratio * (now_centre - rest_centre)[:, None]
        )
        return np.stack((moved.real, moved.imag), axis=-1)


def batches(frames: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Frames, some at a time."""
    while batch := list(islice(frames, size)):
        yield batch


def main() -> None:
    """Read, animate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("graphs", type=Path, help="the folder that faceanim weights export wrote")
    parser.add_argument("photo", type=Path, help="a square crop")
    parser.add_argument("driver", type=Path, help="a video of square frames, cropped likewise")
    parser.add_argument("-o", "--output", type=Path, default=Path("out.mp4"))
    parser.add_argument("--absolute", action="store_true", help="photo and driver show the same person")
    parser.add_argument("--batch", type=int, default=8, help="frames at a time [8]")
    parser.add_argument("--threads", type=int, default=0, help="of the processor [all]")
    options = parser.parse_args()
    animation = Animation(
        options.graphs, cv2.cvtColor(cv2.imread(str(options.photo)), cv2.COLOR_BGR2RGB), options.threads
    )
    says = SAYS.format(animation.about["faceanim"], animation.about["weights_sha256"][:16])
    reference = None
    with imageio.get_reader(options.driver) as driver:
        rate = driver.get_meta_data()["fps"]
        tags = ["-metadata", f"comment={says}"]
        with imageio.get_writer(options.output, fps=rate, macro_block_size=2, output_params=tags) as writer:
            for frames in batches(iter(driver), options.batch):
                keypoints = animation.keypoints(frames)
                if reference is None:
                    reference = keypoints[0]  # the first frame stands for the photo's pose and expression
                if not options.absolute:
                    keypoints = animation.follow(keypoints, reference)
                for picture in animation.paint(keypoints):
                    writer.append_data(picture)


if __name__ == "__main__":
    main()
