"""Tables as people write them: CSV with commas, semicolons or tabs, from Excel, a text editor or a script."""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError

DELIMITERS = ",;\t|"
MOST_BYTES = 1 << 28  # far above any table; a video under the wrong name is not read whole
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class CsvTable:
    """A table of text.

    Attributes:
        columns: the headings, in lower case, without the spaces around them.
        rows: the cells by heading, without the spaces around them; "" where a row ends early.
        lines: the number of each row's last line in the file, for messages.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]


def read_table(path: Path, required: Iterable[str] = ()) -> CsvTable:
    """Read a table with headings.

    Any of UTF-8 and UTF-16, with or without a byte order mark; commas, semicolons, tabs or vertical bars
    between the cells; any ends of lines; headings in any case. Empty rows count for nothing, and neither do
    a first line that says ``sep=;``, as Excel writes it, and comments: lines that begin with ``#`` before the
    headings, and with ``# `` after them, where a name may begin with ``#``.

    Args:
        path: the file.
        required: headings that must be there, in lower case.

    Raises:
        UnreadableInputError: no such file, no table of text, a required column missing, a heading twice, or
            a row with more cells than headings.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    delimiter = None
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text = first.strip()[-1], rest
    skipped = 1 if delimiter else 0
    filled = (line for line in text.splitlines() if line.strip(DELIMITERS + ' "\t'))
    heading = next((line for line in filled if not line.lstrip().startswith("#")), "")
    delimiter = delimiter or max(DELIMITERS, key=lambda mark: _fit(heading, mark, required))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t"
    )
    columns: tuple[str, ...] | None = None
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            line = reader.line_num + skipped
            if not cells or cells[0] == "#" or cells[0].startswith("#" if columns is None else "# "):
                continue
            if columns is None:
                columns = _headings(path, cells, required)
            else:
                if len(cells) > len(columns):
                    raise UnreadableInputError(
                        f"{path}, line {line}: {len(cells)} cells under {len(columns)} headings; put "
                        "quotation marks around what holds the separator"
                    )
                padding = [""] * (len(columns) - len(cells))
                rows.append(dict(zip(columns, cells + padding, strict=True)))
                lines.append(line)
    except csv.Error as error:
        raise UnreadableInputError(f"{path}, line {reader.line_num + skipped}: no table ({error})") from error
    if columns is None:
        columns = _headings(path, [], required)
    return CsvTable(columns, tuple(rows), tuple(lines))


def _decoded(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read the table {path}: {error.strerror or error}; check the path"
        ) from error
    if len(content) > MOST_BYTES:
        raise UnreadableInputError(
            f"cannot read the table {path}: larger than {MOST_BYTES >> 20} MB, no table"
        )
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:  # UTF-16 without its mark; headings are ASCII
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UnreadableInputError(
            f"cannot read the table {path}: line {line} is no {encoding.upper()} text; save it as CSV UTF-8"
        ) from error
    if "\0" in text:
        raise UnreadableInputError(f"cannot read the table {path}: not text; save it as CSV UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _headings(path: Path, cells: Sequence[str], required: Iterable[str]) -> tuple[str, ...]:
    columns = tuple(cell.lower() for cell in cells)
    if missing := sorted(set(required) - set(columns)):
        raise UnreadableInputError(f"{path}: lacks the columns {', '.join(missing)}")
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise UnreadableInputError(f"{path}: two columns are called {twice[0]!r}; delete or rename one")
    return columns


def _fit(heading: str, delimiter: str, required: Iterable[str]) -> tuple[int, int]:
    """How well a delimiter suits a line of headings: the required ones that it yields, then all it yields."""
    cells = next(csv.reader([heading], delimiter=delimiter, skipinitialspace=delimiter != "\t"), [])
    return len(set(required) & {cell.strip().lower() for cell in cells}), len(cells)
