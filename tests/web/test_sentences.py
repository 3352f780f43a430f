"""Sentences for the page: no paths of the server, nothing that needs a terminal."""

import pytest

from faceanim_cli.web.sentences import NO_MEMORY, OUR_FAULT, for_page

NAMES = {"/tmp/x/photo": "Anna; or -a.png", "/tmp/x/driver.mp4": "dance.mov"}


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        (
            "/tmp/x/photo: no face found in 300x200 pixels, upright or tilted by 25 degrees; say where it is "
            "with --crop x,y,w,h, or take a photo that shows the whole face",
            "Anna; or -a.png: no face found in 300x200 pixels, upright or tilted by 25 degrees; take a photo "
            "that shows the whole face",
        ),
        (
            "/tmp/x/driver.mp4: no face found in 7 sampled frames; say where it is with "
            "--driver-crop x,y,w,h (--crop is the photo's), or take one that faces the camera",
            "dance.mov: no face found in 7 sampled frames; take one that faces the camera",
        ),
        (
            "cannot read the photo /tmp/x/photo: it is HEIC, for which pi-heif is missing: pip install "
            "'faceanim-cli[heic]', or save it as JPEG",
            "cannot read the photo Anna; or -a.png: it is HEIC, for which pi-heif is missing: "
            "save it as JPEG",
        ),
        (
            "/tmp/x/photo: shrunk to 2560x1440 for the video; --size 4000 keeps all of it",
            "Anna; or -a.png: shrunk to 2560x1440 for the video",
        ),
        (
            "--pose 3: give 0 (none) to 2 (twice the driver's motion)",
            "Head 3: give 0 (none) to 2 (twice the driver's motion)",
        ),
        (
            "--face 4: /tmp/x/photo has one face; `faceanim faces` shows the numbers",
            "Face 4: Anna; or -a.png has one face",
        ),
        ("/home/me/.cache/faceanim/w.safetensors: damaged", "w.safetensors: damaged"),
        (
            "OpenCV came without C:\\Users\\me\\cv\\frontal.xml; get it",
            "OpenCV came without frontal.xml; get it",
        ),
        ("internal error: KeyError: 'x' in /usr/lib/a.py", OUR_FAULT),
        ("out of memory; ask for fewer --workers, a smaller --batch-size or a smaller --size", NO_MEMORY),
    ],
)
def test_sentences(sentence: str, told: str) -> None:
    assert for_page(sentence, NAMES) == told
