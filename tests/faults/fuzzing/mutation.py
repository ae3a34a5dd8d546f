"""Damage of any file: bits, bytes, blocks, lines and numbers.

Every function takes the generator of random numbers and the content, and returns the new content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

Mutator = Callable[[Random, bytes], bytes]

LIMIT = 1 << 20
"""Longest input in bytes: what is sought is a reader's mistake, not the time to read a giant."""

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 100_000)
LARGE_NUMBERS = (2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)

WORDS = (
    *(b"", b" ", b"\t", b"\n", b"\r", b"\r\n", b"\x00", b"\x0b", b"\x1b[31m", b"\x7f", b"\xff"),
    *("\x85".encode(), "\u2028".encode(), "\ufeff".encode(), "\u0663".encode(), b"\xed\xb2\x80"),
    *(b"0", b"-1", b"1e400", b"nan", b"inf", b"-inf", b"null", b"true", b"9" * 5000, b"[" * 3000),
    *(b'{"a":' * 3000, b"/", b"../", b"..", b".", b"a/" * 300, b"x" * 300, b"mask", b"none", b"#"),
    *(b'"', b"'", b"\\", b"=", b",", b"{", b"}", b"[", b"]", b"<a>", b"&x;", b"%s", b"%PATH%"),
)
"""What text readers trip over."""


def any_change(chance: Random, content: bytes) -> bytes:
    """One to eight changes of bytes and blocks."""
    for _ in range(1 << chance.randrange(4)):
        content = chance.choice(BYTE_CHANGES)(chance, content)
    return content[:LIMIT]


def text_change(chance: Random, content: bytes) -> bytes:
    """One to eight changes of words and lines, now and then of bytes."""
    changes = (*TEXT_CHANGES, *TEXT_CHANGES, any_change)
    for _ in range(1 << chance.randrange(4)):
        content = chance.choice(changes)(chance, content)
    return content[:LIMIT]


def splice(chance: Random, contents: Sequence[bytes]) -> bytes:
    """The head of one file and the tail of another."""
    head, tail = chance.choice(contents), chance.choice(contents)
    return head[: _place(chance, head)] + tail[_place(chance, tail) :]


def number(chance: Random) -> int:
    """A number at which code is known to break."""
    return chance.choice(NUMBERS if chance.random() < 0.7 else LARGE_NUMBERS)


def _place(chance: Random, content: bytes) -> int:
    return chance.randrange(len(content) + 1)


def _range(chance: Random, content: bytes) -> tuple[int, int]:
    """A piece, more often a short one."""
    start = _place(chance, content)
    longest = max(1, (len(content) - start) >> chance.randrange(8))
    return start, min(len(content), start + chance.randint(1, longest))


def _flip_bit(chance: Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _set_byte(chance: Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x20))
    return bytes(changed)


def _set_number(chance: Random, content: bytes) -> bytes:
    size, order = chance.choice((2, 4, 8)), chance.choice(("big", "little"))
    value = number(chance) % (1 << (8 * size))
    start = _place(chance, content)
    return content[:start] + value.to_bytes(size, order) + content[start + size :]


def _cut_end(chance: Random, content: bytes) -> bytes:
    return content[: _place(chance, content)]


def _remove(chance: Random, content: bytes) -> bytes:
    start, end = _range(chance, content)
    return content[:start] + content[end:]


def _insert(chance: Random, content: bytes) -> bytes:
    start = _place(chance, content)
    return content[:start] + chance.randbytes(1 << chance.randrange(8)) + content[start:]


def _repeat(chance: Random, content: bytes) -> bytes:
    start, end = _range(chance, content)
    times = chance.choice((1, 1, 1, 2, 10, 1000))
    return (content[:end] + content[start:end] * times + content[end:])[:LIMIT]


def _swap(chance: Random, content: bytes) -> bytes:
    first, second = sorted((_range(chance, content), _range(chance, content)))
    if first[1] > second[0]:
        return content
    middle = content[first[1] : second[0]]
    swapped = content[slice(*second)] + middle + content[slice(*first)]
    return content[: first[0]] + swapped + content[second[1] :]


def _overwrite(chance: Random, content: bytes) -> bytes:
    start, end = _range(chance, content)
    return content[:start] + chance.randbytes(end - start) + content[end:]


def _insert_word(chance: Random, content: bytes) -> bytes:
    start = _place(chance, content)
    return content[:start] + chance.choice(WORDS) + content[start:]


def _replace_word(chance: Random, content: bytes) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+", content))
    if not words:
        return chance.choice(WORDS)
    chosen, other = chance.choice(words), chance.choice(words)
    new = other[0] if chance.random() < 0.4 else chance.choice(WORDS)
    return content[: chosen.start()] + new + content[chosen.end() :]


def _change_lines(chance: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"\n"
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    change = chance.randrange(4)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(at, lines[other])
    elif change == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = lines[at].rstrip() + chance.choice((b"\r", b"\r\n", b"", b" ", b"\n\n"))
    return b"".join(lines)


def _recode(chance: Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-8-sig", "utf-16", "utf-32", "utf-7")), "replace")


BYTE_CHANGES: tuple[Mutator, ...] = (
    *(_flip_bit, _flip_bit, _set_byte, _set_number, _set_number, _cut_end, _remove),
    *(_insert, _repeat, _swap, _overwrite),
)
TEXT_CHANGES: tuple[Mutator, ...] = (
    *(_insert_word, _replace_word, _change_lines) * 4,
    *(_repeat, _recode),
)
