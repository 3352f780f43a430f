"""Tables as people write them read alike, whatever wrote them; what is no table is told in one line."""

import csv
import io

import pytest

from faceanim_cli.csv_tables import read_table
from faceanim_cli.errors import UnreadableInputError

HEADINGS = ("file", "identity")
ROWS = ({"file": "a b.mp4", "identity": "Zoë"}, {"file": "c,d;e.mp4", "identity": ""})


def written(delimiter=",", end="\r\n", encoding="utf-8"):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADINGS, delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_separators_and_ends_of_lines(tmp_path, encoding, delimiter, end):
    (tmp_path / "t.csv").write_bytes(written(delimiter, end, encoding))
    table = read_table(tmp_path / "t.csv", HEADINGS)
    assert table.columns == HEADINGS
    assert table.rows == ROWS


@pytest.mark.parametrize(
    "text",
    [
        "File , IDENTITY\n a b.mp4 ,Zoë \n",
        'file, identity\n"a b.mp4", "Zoë"\n',
        "\n ; \nfile;identity\n;;\n\na b.mp4;Zoë;;\n",
        "sep=;\r\nfile;identity\r\na b.mp4;Zoë\r\n",
        "identity\tfile\nZoë\ta b.mp4",
        "# faces, ours\n#more\nfile;identity\n# and;a;note;here\na b.mp4;Zoë\n#\n",
        "the,commas,mislead;file;identity\n1,2,3;a b.mp4;Zoë\n",
    ],
    ids=[
        "spaces",
        "quoted after a space",
        "empty rows",
        "Excel's sep",
        "no last end",
        "comments",
        "commas",
    ],
)
def test_spaces_capitals_and_empty_rows(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (row,) = read_table(tmp_path / "t.csv", HEADINGS).rows
    assert (row["file"], row["identity"]) == ("a b.mp4", "Zoë")


def test_names_may_begin_with_a_number_sign(tmp_path):
    (tmp_path / "t.csv").write_text("file,identity\n#1.mp4,x\n")
    assert read_table(tmp_path / "t.csv").rows == ({"file": "#1.mp4", "identity": "x"},)


def test_rows_know_their_lines_and_short_ones_are_filled(tmp_path):
    (tmp_path / "t.csv").write_text('sep=,\nfile,identity\n\n"a\nb",x\nc\n')
    table = read_table(tmp_path / "t.csv")
    assert table.rows == ({"file": "a\nb", "identity": "x"}, {"file": "c", "identity": ""})
    assert table.lines == (5, 6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "lacks the columns file, identity"),
        (b"file,person\n", "lacks the columns identity"),
        (b"file,identity,File\n", "two columns are called 'file'"),
        (b"file,identity\na.mp4,x\nb,c.mp4,x\n", "line 3: 3 cells under 2 headings"),
        (b"file,identity\na.mp4,Zo\xeb\n", "line 2 is no UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no UTF-8 text"),
        (b"file,identity\n\0\0\0,x\n", "not text"),
        (b'file,identity\n"' + b"a" * 200_000, "no table"),
    ],
)
def test_what_is_no_such_table(tmp_path, content, says):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UnreadableInputError) as error:
        read_table(tmp_path / "t.csv", HEADINGS)
    assert says in str(error.value)
    assert str(tmp_path / "t.csv") in str(error.value)
    assert "\n" not in str(error.value)
