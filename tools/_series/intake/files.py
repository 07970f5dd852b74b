"""A table as it stands in a file: CSV as text (so that it can be written back unchanged), Parquet and Feather typed."""

import codecs
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from ..._core.errors import ToolError

TEXT, PARQUET, FEATHER, ARRAYS = "csv", "parquet", "feather", "npz"
_KINDS = {
    ".csv": TEXT, ".tsv": TEXT, ".txt": TEXT, ".parquet": PARQUET, ".pq": PARQUET,
    ".feather": FEATHER, ".arrow": FEATHER, ".npz": ARRAYS,
}  # fmt: skip
_PACKED = (".gz", ".zip", ".zst")
_DELIMITERS = ",;\t|"
_SNIFFED_LINES = 20
ID_NAMES = ("unique_id", "series_id", "item_id", "ts_id", "series", "series_name", "id", "sku")


@dataclass(frozen=True)
class TextForm:
    """How a text file was written, to read it and to write its like."""

    delimiter: str = ","
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Source:
    """A table with where it is from; `first_row` is what people call its first data row in the file."""

    path: Path
    kind: str
    table: pa.Table
    text: TextForm | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def first_row(self) -> int:
        """The line of the first data row in a text file, 0 elsewhere."""
        return 2 if self.kind == TEXT else 0

    @property
    def has_semicolons(self) -> bool:
        """Whether its cells are separated by semicolons."""
        return self.text is not None and self.text.delimiter == ";"

    def place(self, row: int) -> str:
        """A row as a person finds it."""
        return f"{self.path.name} {'line' if self.kind == TEXT else 'row'} {row + self.first_row}"


def kind_of(path: Path) -> str:
    """The format that a file's name promises."""
    suffixes = [s.lower() for s in path.suffixes]
    last = suffixes[-2:-1] if suffixes and suffixes[-1] in _PACKED else suffixes[-1:]
    if not last or last[0] not in _KINDS:
        raise ToolError(
            "The file's ending names no known table format",
            saw=path.name,
            try_next=f"one of {', '.join(_KINDS)}; packed text is named like data.csv{suffixes[-1]}"
            if suffixes and suffixes[-1] in _PACKED
            else f"one of {', '.join(_KINDS)} (a spreadsheet: save it as CSV)",
        )
    return _KINDS[last[0]]


def read(path: Path) -> Source:
    """The table in a CSV, Parquet or Feather file."""
    kind = kind_of(path)
    if path.stat().st_size == 0:
        raise ToolError("The file is empty", saw=path.name, try_next="a file with a header and data rows")
    try:
        if kind == TEXT:
            return read_text(path)
        reader = pa_parquet.read_table if kind == PARQUET else pa_feather.read_table
        table = reader(path)
        table.validate(full=True)  # offsets and UTF-8: what is wrong there would end the process later
        return checked(Source(path, kind, table))
    except (pa.ArrowException, OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ToolError(
            f"The file is no readable {kind} file: {str(error).splitlines()[0]}",
            saw=path.name,
            try_next="writing it again, or the right ending",
        ) from error


def read_folder(folder: Path) -> Source:
    """The files of a folder, one after the other; without an id column each file is a series named after it."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    sources = [read(p) for p in paths]
    if unlike := [
        s
        for s in sources
        if s.kind != sources[0].kind or s.table.column_names != sources[0].table.column_names
    ]:
        raise ToolError(
            "The files of a folder must have one format and the same columns",
            saw=f"{sources[0].path.name} and {unlike[0].path.name}",
            try_next="a folder of like files",
        )
    named = {n.lower() for n in sources[0].table.column_names} & set(ID_NAMES)
    tables = [
        s.table
        if named
        else s.table.append_column(ID_NAMES[0], pa.array([s.path.name.split(".")[0]] * s.table.num_rows))
        for s in sources
    ]
    warnings = [w for s in sources for w in s.warnings]
    table = pa.concat_tables(tables, promote_options="permissive")
    return Source(folder, sources[0].kind, table, sources[0].text, warnings)


def checked(source: Source) -> Source:
    """The same source, after what no table may have."""
    names = source.table.column_names
    if not source.table.num_rows:
        raise ToolError("The table has no data rows", saw=source.path.name, try_next="a file with rows")
    _refuse_twins(names, source.path)
    if taken := sorted({"is_synthetic", "source_id"} & set(names)):
        raise ToolError(
            "The table was augmented already, and copies of copies are refused",
            saw=f"{source.path.name} has a column {taken[0]!r}",
            try_next="the original table, or the rows with is_synthetic false without these columns",
        )
    return source


def read_text(path: Path) -> Source:
    """A delimited text file with a header; every cell is kept as the text it is."""
    warnings: list[str] = []
    content, encoding = _decode(_unpack(path), path, warnings)
    form = TextForm(_sniff(content, path), encoding)
    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "skip"

    header = next(_rows(content, form.delimiter), [])
    _check_header(header, path)
    table = pa_csv.read_csv(
        io.BytesIO(content.encode("utf-8", "surrogatepass")),
        parse_options=pa_csv.ParseOptions(
            delimiter=form.delimiter, newlines_in_values=True, invalid_row_handler=note
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
        read_options=pa_csv.ReadOptions(use_threads=False),  # so that a wrong row has a number
    )
    if wrong:
        raise ToolError(
            f"A row has {wrong[0].actual_columns} cells where the header has {wrong[0].expected_columns}",
            saw=f"{path.name} line {wrong[0].number}: {wrong[0].text[:60]}",
            try_next="mending that row",
        )
    return checked(Source(path, TEXT, table, form, warnings))


def _rows(content: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a text; `newline` keeps the line ends as they are, of which a row may hold some in quotes."""
    return csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)


def _unpack(path: Path) -> bytes:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
            if len(names) != 1:
                raise ToolError(
                    "The zip file holds not exactly one file", saw=names[:5], try_next="unzipping it"
                )
            return archive.read(names[0])
    if path.suffix.lower() in (".gz", ".zst"):
        codec = "gzip" if path.suffix.lower() == ".gz" else "zstd"
        with pa.CompressedInputStream(pa.OSFile(str(path)), codec) as stream:
            return bytes(stream.read())
    return path.read_bytes()


def _decode(raw: bytes, path: Path, warnings: list[str]) -> tuple[str, str]:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if raw.startswith(mark):
            try:
                return raw.decode(name), name
            except UnicodeDecodeError as error:
                raise ToolError(
                    f"The file is no whole {name} text, as its first bytes say it is",
                    saw=f"{path.name}: {error.reason}",
                    try_next="saving it as UTF-8",
                ) from error
    if b"\0" in raw[:4096]:
        raise ToolError("This is no text file", saw=path.name, try_next="the table as CSV or Parquet")
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        warnings.append(f"{path.name} is not UTF-8; it was read as latin-1")
        return raw.decode("latin-1"), "latin-1"


def _sniff(content: str, path: Path) -> str:
    """The delimiter that splits the first lines into the same, largest number of cells."""
    lines = [line for line in content[: 1 << 16].splitlines()[:_SNIFFED_LINES] if line.strip()]
    if not lines:
        raise ToolError("The file is empty", saw=path.name, try_next="a file with a header and data rows")
    best = max(_DELIMITERS, key=lambda d: min(len(next(csv.reader([line], delimiter=d))) for line in lines))
    return best


def _check_header(header: list[str], path: Path) -> None:
    def is_number(cell: str) -> bool:
        return cell.strip().lstrip("+-").replace(".", "", 1).isdigit()

    if header and all(map(is_number, header)):
        raise ToolError("The file has no header row", saw=f"{path.name}: {header[:4]}", try_next="adding one")
    _refuse_twins(header, path)


def _refuse_twins(names: list[str], path: Path) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        where = [str(k + 1) for k, n in enumerate(names) if n == twice[0]]
        raise ToolError(
            "Two columns have the same name" if twice[0] else "Two columns have no name",
            saw=f"{path.name}: {twice[0]!r}, columns {' and '.join(where[:2])}",
            try_next="renaming one, or removing what is empty or stands above the header",
        )
