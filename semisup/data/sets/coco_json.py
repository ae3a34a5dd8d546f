"""A JSON file of any size, one value after the other, each with its place in the file."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

CHUNK = 1 << 24
"""Bytes that are read at a time; no more than twice this is held, or twice the longest value."""

_BLANKS = re.compile(r"[ \t\n\r]*")
_BETWEEN = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


class JsonFile:
    """Reads a JSON object without holding it as a whole.

    A byte is a character here, so that places in the text are places in the file: no byte of a
    letter beyond ASCII is a sign of JSON. Values with such letters are decoded once more.

    Args:
        file: opened for bytes, at its begin. A byte order mark of UTF-8 is skipped.

    Every method raises ValueError where the file is no JSON in UTF-8, TypeError where a value is
    of another kind.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._letters = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text, self._at, self._base, self._whole = "", 0, 0, False
        self._fill()
        if self._text.startswith("\xef\xbb\xbf"):
            self._at = 3

    def members(self) -> Iterator[str]:
        """The keys of the object; whoever asks takes the value of each, by `value` or `elements`.

        Ends where the file ends.
        """
        self._open("{")
        keys: set[str] = set()
        while not (self._peek() == "}" and not keys):
            key = self.value()
            if not isinstance(key, str) or key in keys:
                raise ValueError(f"key {key!r} {'stands twice' if key in keys else 'is no text'}")
            keys.add(key)
            self._sign(":")
            yield key
            if self._sign(",}") == "}":
                break
        else:
            self._sign("}")
        if self._peek():
            raise ValueError(f"more follows at byte {self._base + self._at:,}")

    def value(self) -> Any:
        """The value that comes next."""
        self._peek()
        while True:
            try:
                found, end = self._scan(self._text, self._at)
                if end < len(self._text) or self._whole:  # a number may go on
                    break
            except ValueError as error:
                if self._whole:
                    raise ValueError(f"no value at byte {self._base + self._at:,}") from error
            self._fill()
        text, self._at = self._text[self._at : end], end
        return found if text.isascii() else json.loads(text.encode("latin-1").decode())

    def is_list(self) -> bool:
        """Whether a list comes next."""
        return self._peek() in ("", "[")

    def elements(self, usual: re.Pattern[str] | None = None) -> Iterator[tuple[Any, int, bytes]]:
        """The objects of a list: each with the place of its first byte, and its bytes.

        An object that has the `usual` form comes as the match, which is found in half the time.
        """
        self._open("[")
        if self._peek() == "]":
            self._sign("]")
            return
        while True:
            try:
                found = usual and usual.match(self._text, self._at)
                if found:
                    end = found.end()
                else:
                    found, end = self._scan(self._text, self._at)
                between = _BETWEEN.match(self._text, end)
                ready = between is not None and between.end() < len(self._text)
            except ValueError:
                ready, between = False, None
            if not ready and not self._whole:
                self._fill()
                continue
            if between is None:
                raise ValueError(f"no value of a list at byte {self._base + self._at:,}")
            place, stated = self._base + self._at, self._text[self._at : end].encode("latin-1")
            yield found if stated.isascii() else json.loads(stated.decode()), place, stated
            self._at = between.end()
            if between[1] == "]":
                return

    def sha256(self) -> str:
        """Of all that was read: of the file, once `members` has ended."""
        return self._digest.hexdigest()

    def _peek(self) -> str:
        """The sign that comes next past blanks, "" at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks is not None
            self._at = blanks.end()
            if self._at < len(self._text) or self._whole:
                return self._text[self._at : self._at + 1]
            self._fill()

    def _open(self, sign: str) -> None:
        """Go into an object or a list."""
        if self._peek() not in ("", sign):
            what = "an object" if sign == "{" else "a list"
            raise TypeError(
                f"{self._peek()!r} begins at byte {self._base + self._at:,}, not {what}"
            )
        self._sign(sign)

    def _sign(self, among: str) -> str:
        found = self._peek()
        if not found:
            raise ValueError("it ends in the middle")
        if found not in among:
            raise ValueError(
                f"{found!r} in place of {among[0]!r} at byte {self._base + self._at:,}"
            )
        self._at += 1
        return found

    def _fill(self) -> None:
        """Read on, more the longer a value is, so that a long one is not tried too often."""
        rest = self._text[self._at :]
        chunk = self._file.read(max(CHUNK, len(rest)))
        self._digest.update(chunk)
        self._letters.decode(chunk, final=not chunk)
        self._base += self._at
        self._text, self._at, self._whole = rest + chunk.decode("latin-1"), 0, not chunk
