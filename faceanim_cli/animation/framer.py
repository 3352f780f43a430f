"""How a photo and a driver are framed: each kind of network knows faces in a frame of its own."""

from collections.abc import Iterable, Sequence

from faceanim_cli.faces import Box, FaceTrack, frame_crop
from faceanim_cli.pictures import Image


class Framer:
    """Frames faces by their boxes, as our networks know them; for others it is derived from."""

    def frame_photo(self, image: Image, face: Box) -> Box:
        """The square around a face of a photo, given its Viola-Jones box; in pixels."""
        return frame_crop(face, (image.shape[1], image.shape[0]))

    def frame_clips(
        self,
        samples: Iterable[tuple[int, int, Image]],
        tracks: Sequence[FaceTrack],
        image_size: tuple[int, int],
    ) -> list[Box]:
        """The one square of each clip.

        Args:
            samples: some frames, lazily, for who has to see them: the clip's number in ``tracks``, the
                frame's, and the frame.
            tracks: where the face is in each clip.
            image_size: (width, height) of the frames.
        """
        return [track.clip_crop(image_size) for track in tracks]
