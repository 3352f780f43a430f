"""Which files are taken, who goes with whom, and what results are called."""

import logging
import os
from pathlib import Path

import PIL.Image
import pytest

from faceanim_cli.batch.plan import plan_batch, plan_pairs
from faceanim_cli.errors import UnreadableInputError, UsageError
from tests.batch.conftest import Touch, names, triples


def test_all_combinations_photo_by_photo(touch: Touch) -> None:
    touch("photos/b.png", "photos/a.jpg", "drivers/y.mp4", "drivers/x.MOV")
    assert triples(plan_batch("photos", "drivers", Path("out"))) == [
        ("photos/a.jpg", "drivers/x.MOV", "out/a-x.mp4"),
        ("photos/a.jpg", "drivers/y.mp4", "out/a-y.mp4"),
        ("photos/b.png", "drivers/x.MOV", "out/b-x.mp4"),
        ("photos/b.png", "drivers/y.mp4", "out/b-y.mp4"),
    ]


def test_hidden_and_other_files_are_ignored_counted_and_named(
    touch: Touch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "faceanim_cli")
    touch("p/a.jpg", "p/._a.jpg", "p/.DS_Store", "p/notes.txt", "p/older/b.jpg", "d/x.mp4", "d/x.srt")
    plan = plan_batch("p", "d", Path("out"))
    assert names(plan) == ["a-x.mp4"]
    assert plan.notes == ("p: ignored 3 files: 2 hidden, 1 .txt", "d: ignored 1 file: 1 .srt")
    assert [message for message in caplog.messages if "notes" in message] == ["p/notes.txt: ignored"]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("p", ["a", "b c"]),
        ("p/a.jpg", ["a"]),
        ("p/*.png", ["b c"]),
        ("p/**/*", ["a", "b c", "d"]),
        ("p/[ab]*", ["a", "b c"]),
        ("p/e[1].jpg", ["e[1]"]),  # there is a file of this name: no pattern
    ],
)
def test_a_file_a_folder_or_a_glob(touch: Touch, where: str, found: list[str]) -> None:
    touch("p/a.jpg", "p/b c.png", "p/deep/d.webp", "x.mp4")
    if "[1]" in where:
        touch(where)
    assert [i.photo.stem for i in plan_batch(where, "x.mp4", Path("out")).items] == found


def test_an_absolute_glob(touch: Touch) -> None:
    root = touch("p/a.jpg", "x.mp4")
    plan = plan_batch(str(root / "p" / "*.jpg"), "x.mp4", Path("out"))
    assert [item.photo for item in plan.items] == [root / "p" / "a.jpg"]


def test_folders_of_frames_and_motion_files_are_drivers(touch: Touch) -> None:
    touch("a.jpg", "d/x.mp4", "d/nod.motion", "d/walk/0001.png", "d/walk/0002.png", "d/notes/readme.txt")
    assert names(plan_batch("a.jpg", "d", Path("out"))) == ["a-nod.mp4", "a-walk.mp4", "a-x.mp4"]
    assert names(plan_batch("a.jpg", "d/walk", Path("out"))) == ["a-walk.mp4"]


def test_motions_of_the_library_are_drivers(touch: Touch) -> None:
    touch("a.jpg")
    assert triples(plan_batch("a.jpg", "nod", Path("out"))) == [("a.jpg", "nod", "out/a-nod.mp4")]
    touch("nod/x.mp4")  # what is there goes before
    assert triples(plan_batch("a.jpg", "nod", Path("out"))) == [("a.jpg", "nod/x.mp4", "out/a-x.mp4")]


@pytest.mark.parametrize("method", ["iterdir", "is_dir"])
def test_a_subfolder_that_cannot_be_read_is_passed_over(
    touch: Touch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    touch("a.jpg", "d/secret/1.png", "d/x.mp4")
    real = getattr(Path, method)

    def refuse(path: Path) -> object:  # root, as whom tests may run, is refused nothing
        if path.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, method, refuse)
    assert names(plan_batch("a.jpg", "d", Path("out"))) == ["a-x.mp4"]
    assert "d/secret: Permission denied" in caplog.text
    with pytest.raises(UnreadableInputError, match="secret: Permission denied; check the path"):
        plan_batch("a.jpg", "d/secret", Path("out"))


@pytest.mark.parametrize("letter", ["画", "é", "a", "👩‍🚀", "\udcff"])
def test_long_names_are_cut_to_what_file_systems_bear(touch: Touch, letter: str) -> None:
    photo = letter * (240 // len(os.fsencode(letter)))
    root = touch(f"p/{photo}.jpg", f"p/{photo[:-1]}b.jpg", "nodding for a while.mp4")
    plan = plan_batch("p", "nodding for a while.mp4", Path("out"))
    for name in names(plan):
        assert 230 < len(os.fsencode(name)) <= 255
        assert name.endswith(".mp4")
        (root / name).touch()
    assert len(set(names(plan))) == 2
    assert names(plan_batch("p", "nodding for a while.mp4", Path("out"))) == names(plan)  # for --resume
    short = plan_batch("p", "nodding for a while.mp4", Path("out"), name="{index}/{photo}.webp")
    assert set(names(short)) == {f"{photo[:-1]}b.webp", f"{photo}.webp"}


def test_what_animate_reads_is_a_driver_in_a_folder_too(touch: Touch) -> None:
    kinds = ["apng", "mxf", "y4m", "vob", "MOV", "3g2"]
    root = touch("a.jpg", *(f"d/{n}.{kind}" for n, kind in enumerate(kinds)))
    still = PIL.Image.new("RGB", (8, 8))
    still.save(root / "d" / "still.webp")
    moving = [still, PIL.Image.new("RGB", (8, 8), "white")]
    moving[0].save(root / "d" / "moving.webp", save_all=True, append_images=moving[1:])
    plan = plan_batch("a.jpg", "d", Path("out"), name="{driver}.mp4")
    assert names(plan) == [*(f"{n}.mp4" for n in range(6)), "moving.mp4"]
    assert plan.notes == ("d: ignored 1 file: 1 .webp",)
    (root / "walk").mkdir()
    for n in "123":
        still.save(root / "walk" / f"{n}.webp")
    assert names(plan_batch("a.jpg", "walk", Path("out"))) == ["a-walk.mp4"]


def test_pairs_of_equal_names(touch: Touch) -> None:
    touch("p/a.jpg", "p/b.jpg", "p/c.jpg", "d/c.mp4", "d/a.mov", "d/z.mp4")
    plan = plan_batch("p", "d", Path("out"), match="name")
    assert names(plan) == ["a-a.mp4", "c-c.mp4"]
    assert plan.notes == ("p: 1 without a partner, p/b.jpg first", "d: 1 without a partner, d/z.mp4 first")
    with pytest.raises(UnreadableInputError, match=r"no photo in p/b\.jpg has the name of a driver"):
        plan_batch("p/b.jpg", "d", Path("out"), match="name")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{index:03d}.mp4", ["001.mp4", "002.mp4"]),
        ("{driver}/{photo}.webm", ["a.webm", "{b}.webm"]),
        ("{{{photo}}}-{index}.mov", ["{a}-1.mov", "{{b}}-2.mov"]),
    ],
)
def test_name_templates(touch: Touch, template: str, expected: list[str]) -> None:
    touch("p/a.jpg", "p/{b}.jpg", "x.mp4")
    assert names(plan_batch("p", "x.mp4", Path("out"), name=template)) == expected


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{person}.mp4", "unknown {person}; known are {photo}, {driver}, {index}"),
        ("{photo.__class__}.mp4", "unknown {photo.__class__}"),
        ("{0}.mp4", "unknown {0}"),
        ("{}.mp4", "unknown {}"),
        ("{photo!r}.mp4", "only the index takes a format"),
        ("{photo:>999999999}.mp4", "only the index takes a format"),
        ("{index:0999999999d}.mp4", "only the index takes a format"),
        ("{photo.mp4", "fields are {photo}"),
        ("../{photo}.mp4", "inside the output folder"),
        ("/tmp/{photo}.mp4", "inside the output folder"),
        ("{photo}/", "inside the output folder"),
        ("", "inside the output folder"),
    ],
)
def test_impossible_templates_are_refused(touch: Touch, template: str, said: str) -> None:
    touch("a.jpg", "x.mp4")
    with pytest.raises(UsageError) as error:
        plan_batch("a.jpg", "x.mp4", Path("out"), name=template)
    assert said in str(error.value)


def test_two_results_of_one_name_are_refused_with_both_pairs(touch: Touch) -> None:
    touch("p/a.jpg", "p/a.png", "x.mp4")
    with pytest.raises(UsageError, match=r"p/a\.jpg \+ x\.mp4 and p/a\.png \+ x\.mp4 .* out/a-x\.mp4"):
        plan_batch("p", "x.mp4", Path("out"))
    assert len(plan_batch("p", "x.mp4", Path("out"), name="{index}.mp4").items) == 2


@pytest.mark.parametrize("drivers", ["clips", "clips/*", "clips/**/*.mp4"])
def test_results_inside_an_input_folder_are_no_inputs_of_the_next_run(touch: Touch, drivers: str) -> None:
    touch("a.jpg", "clips/x.mp4", "clips/out/a-x.mp4", "clips/out/frames/1.png")
    assert names(plan_batch("a.jpg", drivers, Path("clips/out"))) == ["a-x.mp4"]


def test_inputs_inside_the_output_folder_are_inputs(touch: Touch) -> None:
    touch("photos/a.jpg", "drivers/x.mp4")
    assert names(plan_batch("photos", "drivers", Path())) == ["a-x.mp4"]


@pytest.mark.parametrize("drivers", ["clips", "clips/*.mp4"])
def test_results_among_their_like_are_refused(touch: Touch, drivers: str) -> None:
    touch("photos/a.jpg", "clips/x.mp4")
    with pytest.raises(UsageError, match=r"clips/a-x\.mp4 would be an input of the next run"):
        plan_batch("photos", drivers, Path("clips"))
    plan_batch("photos", drivers, Path("photos"))  # videos among photos are not taken for photos
    plan_batch("photos", "clips/x.mp4", Path("clips"))  # nothing is searched


def test_a_result_never_replaces_an_input(touch: Touch) -> None:
    touch("a.jpg", "a-x.mp4", "x.mp4")
    with pytest.raises(UsageError, match="would replace an input"):
        plan_batch("a.jpg", "x.mp4", Path(), name="x.mp4")


@pytest.mark.parametrize(
    ("photos", "drivers", "said"),
    [
        ("none", "x.mp4", "none: there is no such file"),
        ("a.jpg", "https://a.b/c.mp4?d=1", r"https://a\.b/c\.mp4\?d=1: it is an address"),
        ("https://a.b/c.jpg", "x.mp4", r"https://a\.b/c\.jpg: it is an address on the net; download"),
        ("a.jpg", "-", "-: standard input is not read"),
        ("a.jpg", "none/*.mp4", r"no videos in none/\*\.mp4"),
        ("empty", "x.mp4", r"no photos in empty \(1 file: 1 \.txt\)"),
        ("a.jpg", "empty", "no videos in empty"),
    ],
)
def test_nothing_to_work_with(touch: Touch, photos: str, drivers: str, said: str) -> None:
    touch("a.jpg", "x.mp4", "empty/readme.txt")
    with pytest.raises(UnreadableInputError, match=said):
        plan_batch(photos, drivers, Path("out"))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("-", "cannot write to standard output"),
        ("https://a.b/c", "it is an address"),
        (os.devnull, "it is a device"),
        ("a.jpg", "it is a file; give a folder's name"),
    ],
)
def test_what_can_be_no_folder_of_results(touch: Touch, output: str, said: str) -> None:
    touch("a.jpg", "x.mp4")
    Path("pairs.csv").write_text("photo,driver\na.jpg,x.mp4\n")
    with pytest.raises(UsageError, match=said):
        plan_batch("a.jpg", "x.mp4", Path(output))
    with pytest.raises(UsageError, match=said):
        plan_pairs(Path("pairs.csv"), Path(output))
    plan_batch("a.jpg", "x.mp4", Path("not/there/yet"))


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_circle_of_links_is_one_item_that_fails(touch: Touch) -> None:
    root = touch("p/a.jpg", "x.mp4")
    (root / "p" / "b.jpg").symlink_to("b.jpg")
    assert names(plan_batch("p", "x.mp4", Path("p/out"))) == ["a-x.mp4", "b-x.mp4"]
