"""The form of a text table, from its bytes: encoding, separator, lines before the rows, and whether quotes enclose cells.

Nothing is guessed where the bytes allow two readings: the table is refused with both, and the key that decides.
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import fsspec
import numpy as np

from cube.errors import TableError

BLOCK: Final = 1 << 20  # bytes read at a time
HEAD: Final = 1 << 16  # bytes in which the header must end
FIRST: Final = 50  # lines whose number of cells tells of row names
ROW_NAMES: Final = "row.names"  # what a first column without a name is called
SEPARATORS: Final = ",;\t|"
BYTE_ENCODINGS: Final = ("cp1252", "cp1250", "iso8859-2", "cp1251")  # those a table may silently be in
OLD_ENCODINGS: Final = ("mac_roman", "cp850", "cp852")  # proposed where none of the others makes words
WORDS: Final = 5_000  # words with other letters than ASCII that decide the encoding
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_HIGH_WORD: Final = re.compile(rb"[^\s,;|\t\"()\[\]]*[\x80-\xff][^\s,;|\t\"()\[\]]*")
_QUOTE, _LINE, _RETURN = ord('"'), ord("\n"), ord("\r")


@dataclass(frozen=True)
class Dialect:
    """How a text table is written. `skip` counts the lines before the first row, the header's among them."""

    encoding: str
    separator: str
    header: tuple[str, ...]  # distinct, as `file_header` may not be
    skip: int
    quoted: bool = True  # False: quotation marks are letters like others, as GBIF writes its tables
    remarks: tuple[str, ...] = ()
    file_header: tuple[str, ...] = ()

    @property
    def twice(self) -> frozenset[str]:
        """Names of columns that the header has more than once."""
        return frozenset(name for name in self.file_header if self.file_header.count(name) > 1)


def dialect_of(path: str, encoding: str | None = None) -> Dialect:
    """The form of the text table at `path`; the whole file is read once, a megabyte at a time.

    Raises `TableError` where the bytes are not in `encoding`, could be in several encodings with different letters, or
    where quotation marks do not enclose cells; the message names the line.
    """
    with fsspec.open(path, "rb", compression="infer") as file:
        head = file.read(HEAD)
    form = encoding or _announced(head) or "utf-8"
    if form == "utf-8" and b"\0" in head:
        raise TableError(
            f"{path}: is no text table (it holds zero bytes); give a table in one of the formats of the documentation."
        )
    text = head.decode("utf-8-sig" if form == "utf-8" else form, "replace")
    separator, header, skip, remarks = _head(path, text)
    wrong = _undecodable(path, form)
    if wrong and (encoding or form.startswith("utf-16")):
        raise TableError(
            f"{path}: line {wrong[0]}: is not in {form} ({wrong[1]}); give the table's own encoding (encoding: cp1250, cp1252,"
            " utf-16, ...), or save it as UTF-8."
        )
    if wrong:
        form = _byte_encoding(path, _high_words(path))
        remarks += (f"table read as {form}",)
        separator, header, skip, _ = _head(path, head.decode(form, "replace"))
    quoted, remark = _quoting(path, form, separator, len(header), skip)
    return Dialect(form, separator, _distinct(header), skip, quoted, (*remarks, remark) if remark else remarks, header)


def _announced(head: bytes) -> str | None:
    """The encoding that a byte order mark or the zero bytes of UTF-16 tell."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    odd, even = head[1:2000:2].count(0), head[:2000:2].count(0)
    if max(odd, even) > 0.3 * len(head[:2000]) / 2:
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def _head(path: str, text: str) -> tuple[str, tuple[str, ...], int, tuple[str, ...]]:
    """(separator, names of columns, lines before the first row, remarks) from the beginning of a table."""
    lines = re.split(r"\r\n|\n|\r", text.lstrip("\ufeff"))
    skip, separator, remarks, comments = 0, None, [], 0
    for line in lines:
        if match := re.fullmatch(r"\"?sep=(.)\"?[\s,;]*", line, re.IGNORECASE):
            separator = match[1]
        elif line.startswith("#"):
            comments += 1
        elif line.strip():
            break
        skip += 1
    data_lines = lines[skip:]
    if skip and lines[skip - 1].startswith("#") and data_lines and _commented_header(lines[skip - 1], data_lines[0]):
        skip, comments = skip - 1, comments - 1
        data_lines = [lines[skip].lstrip("# "), *data_lines]
    if not data_lines:
        raise TableError(f"{path}: is empty; a table begins with a line of column names.")
    if comments:
        remarks.append(f"lines of comment (#) before the header: {comments}")
    separator = separator or _separator(path, data_lines[0])
    names = _cells(data_lines[0], separator)
    rows = [_cells(line, separator) for line in data_lines[1:FIRST] if line.strip()]
    if len(rows) > 1 and all(len(row) == len(names) + 1 for row in rows[:-1]):
        # R's write.table leaves the column of row names without a header; others end every row with a separator.
        names = [*names, ""] if rows[0][-1] == "" else [ROW_NAMES, *names]
        remarks.append("rows have one cell more than the header: " + ("the last is empty" if names[-1] == "" else ROW_NAMES))
    if not names[0].strip():
        names[0] = ROW_NAMES  # R's write.csv names it ""
    names = [re.sub(r"\s+", " ", n.replace("\xa0", " ").replace("\ufeff", "")).strip() for n in names]
    return separator, tuple(names), skip + 1, tuple(remarks)


def _commented_header(comment: str, row: str) -> bool:
    """Whether `#id,lon,lat` is a header: the row below it has as many cells, one of them a number."""
    separator = max(SEPARATORS, key=comment.count)
    cells = _cells(row, separator)
    numbers = any(re.fullmatch(r"\s*-?\d+([.,]\d+)?\s*", cell) for cell in cells)
    return len(cells) > 1 and len(_cells(comment, separator)) == len(cells) and numbers


def _separator(path: str, header: str) -> str:
    if path.split("|")[0].lower().endswith((".tsv", ".tsv.gz")):
        return "\t"
    if re.fullmatch(r'"[^"]*"( "[^"]*")+', header.strip()):  # R's write.table as it is
        return " "
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [""])


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names, those that stand twice numbered as pandas does (`x`, `x.1`)."""
    counts: dict[str, int] = {}
    out = []
    for name in names:
        copy = counts[name] = counts.get(name, -1) + 1
        out.append(f"{name}.{copy}" if copy else name)
    return tuple(out)


def _blocks(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """The file in an encoding that leaves ASCII as it is, each block ending with a line."""
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding.startswith("utf-16") else None
    remainder = b""
    while block := file.read(BLOCK):
        block = remainder + (decoder.decode(block).encode() if decoder else block)
        line_end = block.rfind(b"\n") + 1
        remainder = block[line_end:]
        if line_end:
            yield block[:line_end]
    if remainder:
        yield remainder


def _undecodable(path: str, encoding: str) -> tuple[int, str] | None:
    """(line, reason) of the first bytes of a file that are not in `encoding`; None where all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with fsspec.open(path, "rb", compression="infer") as file:
        try:
            while block := file.read(BLOCK):
                lines += decoder.decode(block).count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            near = bytes(error.object)[: error.start].decode(encoding, "replace")
            return lines + near.count("\n"), error.reason
    return None


def _high_words(path: str) -> dict[bytes, int]:
    """Words of a file with letters beyond ASCII, the first `WORDS` or so, and the line of each."""
    words: dict[bytes, int] = {}
    lines = 1
    with fsspec.open(path, "rb", compression="infer") as file:
        for block in _blocks(file, "ascii"):
            for match in _HIGH_WORD.finditer(block):
                if match[0] not in words:
                    words[match[0]] = lines + block.count(b"\n", 0, match.start())
            lines += block.count(b"\n")
            if len(words) > WORDS:
                break
    return words


def _byte_encoding(path: str, words: dict[bytes, int]) -> str:
    """The one reading of `words` in which all are words; refused where two such readings differ, or none is."""
    readings = {e: text for e in BYTE_ENCODINGS if (text := _read(words, e)) is not None}
    if readings:
        encoding = next(iter(readings))
        for word, line in words.items():
            spellings = {text[word]: e for e, text in reversed(readings.items())}
            if len(spellings) > 1:
                spellings_text = ", ".join(f"'{spelling[:40]}' in {e}" for spelling, e in reversed(spellings.items()))
                raise TableError(
                    f"{path}: line {line}: is not UTF-8, and could be {spellings_text}; say which in the configuration"
                    f" (encoding: {' or '.join(reversed(spellings.values()))}), or save the table as UTF-8."
                )
        return encoding
    word, line = next(iter(words.items()))
    spellings_text = ", ".join(f"'{word.decode(e, 'replace')[:40]}' in {e}" for e in (*BYTE_ENCODINGS[:2], *OLD_ENCODINGS))
    raise TableError(
        f"{path}: line {line}: is not UTF-8, and no usual encoding makes words of all its letters ({spellings_text}); say which"
        " in the configuration (encoding: cp850, mac_roman, ...), or save the table as UTF-8."
    )


def _read(words: dict[bytes, int], encoding: str) -> dict[bytes, str] | None:
    """`words` in `encoding`, or None where one of them is no word then."""
    out = {}
    for word in words:
        try:
            out[word] = word.decode(encoding)
        except UnicodeDecodeError:
            return None
        if not _plausible(out[word]):
            return None
    return out


def _plausible(word: str) -> bool:
    """Whether signs and control characters, capitals and scripts stand in `word` where writers put them."""
    for i, letter in enumerate(word):
        if letter.isascii():
            continue
        preceding, following = word[i - 1 : i], word[i + 1 : i + 2]
        category = unicodedata.category(letter)
        if category == "Cc":
            return False
        if category[0] != "L" or category == "Lm":
            if preceding.isalpha() and following.isalpha() and letter not in "\u2019\u00b7\u00ad\u00d7\u2013\u2014\xa0":
                return False
        elif category == "Lu" and preceding.islower():
            return False
    scripts = {unicodedata.name(c, "?").split(" ")[0] for c in word if c.isalpha()}
    return not ("CYRILLIC" in scripts and "LATIN" in scripts)


def _quoting(path: str, encoding: str, separator: str, cells: int, skip: int) -> tuple[bool, str | None]:
    """(whether quotes enclose cells, a remark). Quotes do where each opens and closes at a cell's edges (RFC 4180).

    Where they do not, or where enclosed line ends and separators would make fewer rows than lines with all cells, lines are
    rows and quotes are letters: so GBIF writes its tables.
    """
    wrong, enclosing = _quotes(path, encoding, separator)
    if wrong is None and not enclosing:
        return True, None
    if _lines_are_rows(path, encoding, separator, cells, skip):
        line_text = f" (line {wrong})" if wrong else ""
        return False, f"quotation marks read as letters, as they do not enclose cells{line_text}"
    if wrong is None:
        return True, None
    raise TableError(
        f"{path}: line {wrong}: holds a quotation mark that neither begins nor ends a cell; write it twice within a quoted"
        " cell, remove it, or save the table as tab separated text without quotes."
    )


def _quotes(path: str, encoding: str, separator: str) -> tuple[int | None, bool]:
    """(line of the first quote that does not stand at a cell's edge, whether a separator or line end is enclosed)."""
    edges = np.zeros(256, bool)
    edges[[ord(separator), _LINE, _RETURN, _QUOTE]] = True
    lines, inside, enclosing = 1, 0, False
    with fsspec.open(path, "rb", compression="infer") as file:
        for number, raw in enumerate(_blocks(file, encoding)):
            block = raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            if inside or b'"' in block:
                bytes_between_lines = np.frombuffer(b"\n" + block + b"\n", np.uint8)
                quotes = bytes_between_lines == _QUOTE
                within = np.bitwise_xor.accumulate(quotes) ^ bool(inside)
                at = np.flatnonzero(quotes)
                neighbour = np.where(within[at], bytes_between_lines[at - 1], bytes_between_lines[at + 1])
                wrong = at[~edges[neighbour]]
                if len(wrong):
                    return lines + int(np.count_nonzero(bytes_between_lines[1 : wrong[0]] == _LINE)), enclosing
                enclosing |= bool(
                    (within[1:-1] & ((bytes_between_lines[1:-1] == ord(separator)) | (bytes_between_lines[1:-1] == _LINE))).any()
                )
                inside ^= len(at) & 1
            lines += block.count(b"\n")
    return (lines if inside else None), enclosing


def _lines_are_rows(path: str, encoding: str, separator: str, cells: int, skip: int) -> bool:
    """Whether each line after the first `skip` has as many separators as `cells` need, in and out of quotes."""
    with fsspec.open(path, "rb", compression="infer") as file:
        for block in _blocks(file, encoding):
            array = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", np.uint8)
            ends = np.flatnonzero(array == _LINE)
            counts = np.diff(np.cumsum(array == ord(separator))[ends], prepend=0)
            blank = np.diff(ends, prepend=-1) <= 2
            wrong = (counts != cells - 1) & ~blank
            if wrong[skip:].any():
                return False
            skip = max(skip - len(ends), 0)
    return True
