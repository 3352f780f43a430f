"""Tables of pairs, as people write them."""

from pathlib import Path

import pytest

from faceanim_cli.batch.plan import plan_pairs
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from tests.batch.conftest import Touch, names, triples


def test_a_table_of_pairs(touch: Touch) -> None:
    root = touch("lists/p/a.jpg")
    table = root / "lists" / "pairs.csv"
    table.write_text(
        "\ufeffdriver,photo,output\nx.mp4,p/a.jpg,\ny.mp4,b.jpg,sub/second.webm\nz.mp4,p/a.jpg,\n", "utf-8"
    )
    plan = plan_pairs(Path("lists/pairs.csv"), Path("out"))
    assert triples(plan) == [  # one photo's together, numbers as in the file
        ("lists/p/a.jpg", "lists/x.mp4", "out/a-x.mp4"),
        ("lists/p/a.jpg", "lists/z.mp4", "out/a-z.mp4"),
        ("lists/b.jpg", "lists/y.mp4", "out/sub/second.webm"),
    ]
    table.write_text("photo,driver\na.jpg,x.mp4\nb.jpg,y.mp4\n")
    assert names(plan_pairs(table, Path("out"), name="{index}.mp4")) == ["1.mp4", "2.mp4"]


@pytest.mark.parametrize(
    "content",
    [
        "Photo;Driver;Output\r\n a.jpg ; x.mp4 ;\r\n\r\n;;\r\nb, c.jpg;nod;b.mp4\r\n".encode("utf-8-sig"),
        b"photo\tDRIVER\toutput\na.jpg\tx.mp4\n\nb, c.jpg\tnod\tb.mp4",
        'photo, driver, output\na.jpg, x.mp4\n"b, c.jpg", nod, b.mp4\n'.encode("utf-16"),
        b'sep=,\noutput,driver,photo\n,x.mp4,a.jpg\nb.mp4,nod,"b, c.jpg"\n',
        b'# mine\nphoto,driver,output\na.jpg,x.mp4,\n# and\n#\n"b, c.jpg",nod,b.mp4\n',
    ],
)
def test_tables_as_people_write_them(touch: Touch, content: bytes) -> None:
    touch("t/a.jpg", "t/b, c.jpg", "t/x.mp4")
    Path("t/pairs.csv").write_bytes(content)
    plan = plan_pairs(Path("t/pairs.csv"), Path("out"))
    assert triples(plan) == [("t/a.jpg", "t/x.mp4", "out/a-x.mp4"), ("t/b, c.jpg", "nod", "out/b.mp4")]
    assert plan.notes == ()


def test_paths_in_a_table(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch("t/deep/a.jpg", "home/b.jpg", "x.mp4", "t/nod")
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("USERPROFILE", str(root / "home"))
    Path("t/pairs.csv").write_text(
        f"photo,driver\ndeep\\a.jpg,../x.mp4\n~/b.jpg,{root / 'x.mp4'}\nc.jpg,nod\n"
    )
    plan = plan_pairs(Path("t/pairs.csv"), Path("out"))
    assert [item.photo for item in plan.items] == [Path("t/deep/a.jpg"), root / "home/b.jpg", Path("t/c.jpg")]
    assert [item.driver for item in plan.items] == [Path("t/../x.mp4"), root / "x.mp4", Path("t/nod")]
    assert plan.notes == ("1 of 6 files are not there, t/c.jpg first",)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("photo,video\na,b\n", UsageError, "its columns are photo, video; they must be photo, driver"),
        ("", UsageError, "its columns are none"),
        ("photo,driver\n", UnreadableInputError, "holds no pairs"),
        ("photo,driver\na.jpg\n", UnreadableInputError, "line 2: needs a photo and a driver"),
        ("photo,driver\na.jpg,x.mp4,more\n", UnreadableInputError, "line 2"),
        ("photo,driver,output\na.jpg,x.mp4,../x.mp4\n", UsageError, "inside the output folder"),
        ("photo,driver\na.jpg,http://a.b/c.mp4\n", UnreadableInputError, "http://a.b/c.mp4 is an address;"),
        ("photo,driver,output\na,b,c.mp4\nd,e,c.mp4\n", UsageError, "would both be written to"),
        (b"photo,driver\na.jpg,\xff.mp4\n", UnreadableInputError, "cannot read the table"),
        (None, UnreadableInputError, "No such file"),
    ],
)
def test_a_table_that_cannot_be(
    tmp_path: Path, text: str | bytes | None, kind: type[FaceanimError], said: str
) -> None:
    table = tmp_path / "pairs.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(kind) as error:
        plan_pairs(table, tmp_path / "out")
    assert said in str(error.value)
    assert "pairs.csv" in str(error.value) or "would both" in said
