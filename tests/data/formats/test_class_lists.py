"""Lists of classes in the forms of labelling tools, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from semisup.data.formats.class_colours import class_colours
from semisup.data.formats.class_lists import ClassList, read_class_list
from semisup.errors import DataError

THREE = ("background", "cat", "dog")


def listed(tmp_path: Path, text: str) -> ClassList:
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    return read_class_list(path)


@pytest.mark.parametrize(
    "text",
    [
        "background\ncat\ndog\n",
        "# my classes\nbackground\n\ncat\n# and\ndog",
        "\ufeffbackground\r\ncat\r\ndog\r\n",
        "__ignore__\nbackground\ncat\ndog\n",
        "0,background\n1,cat\n2,dog\n",
        "Pixel Value, Class\n0, background\n1, cat\n2, dog\n",
        '"id","name"\n"0","background"\n"1","cat"\n"2","dog"\n',
        "1;cat\n0;background\n2;dog\n",
        "0 background\n1 cat\n2 dog\n",
        "0: background\n1: cat\n2: dog\n",
        "0\tbackground\n1\tcat\n2\tdog\n",
        "background,0\ncat,1\ndog,2\n",
        "0,background\n1,cat\n2,dog\n255,void\n",
        "# label:color_rgb:parts:actions\nbackground:::\ncat:::\ndog:::\n",
        "Class\tValue\nbackground\t0\ncat\t1\ndog\t2\n",
    ],
)
def test_names_come_from_every_form(tmp_path: Path, text: str) -> None:
    found = listed(tmp_path, text)
    assert found.names == THREE
    assert found.palette == class_colours(("background", "cat", "dog"))
    assert found.colours == {}
    assert found.values in (None, {0: 0, 1: 1, 2: 2})


@pytest.mark.parametrize(
    "text",
    [
        "background 0 0 0\ncat 48 112 32\nbig dog 1 2 3\n",
        "0 0 0 background\n48 112 32 cat\n1 2 3 big dog\n",
        "0 0 0\tbackground\n48 112 32\t\tcat\n1 2 3\tbig dog\n",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\nbig dog:1,2,3:a,b:c",
        "label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\nbig dog:1,2,3::\n",
        "name,r,g,b\nbackground,0,0,0\ncat,48,112,32\nbig dog,1,2,3\n",
        "name r g b\nbackground 0 0 0\ncat 48 112 32\nbig dog 1 2 3\n",
        "0,0,0,background\n48,112,32,cat\n1,2,3,big dog\n",
        "0,background,0,0,0\n1,cat,48,112,32\n2,big dog,1,2,3\n",
        "0 0 0 0 background\n1 48 112 32 cat\n2 1 2 3 big dog\n",
    ],
)
def test_colours_come_from_every_form(tmp_path: Path, text: str) -> None:
    found = listed(tmp_path, text)
    assert found.names == ("background", "cat", "big dog")
    assert found.palette == ((0, 0, 0), (48, 112, 32), (1, 2, 3))
    assert found.colours == dict(enumerate(found.palette))


def test_numbers_need_not_follow_one_another(tmp_path: Path) -> None:
    found = listed(tmp_path, "Pixel Value,Class\n255,pet\n0,background\n7,__ignore__\n")
    assert found.names == ("background", "pet")
    assert found.values == {0: 0, 1: 255}
    assert found.void_values == {7}


def test_what_is_ignored_may_have_a_colour(tmp_path: Path) -> None:
    found = listed(tmp_path, "__ignore__ 9 9 9\nbackground 0 0 0\ncat 1 1 1\n")
    assert found.names == ("background", "cat")
    assert found.void_colours == {(9, 9, 9)}


@pytest.mark.parametrize(
    "name", ["3 wheeler", "route 66", "bird's nest", "tree (dead)", "C", "label 2", "t-shirt/top"]
)
def test_names_that_look_a_little_like_something_else(tmp_path: Path, name: str) -> None:
    assert listed(tmp_path, f"background\n{name}\ncat 1 2 3\n").names == ("background", name, "cat")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class\nbackground\ncat\n", "line 1: 'class' looks like the head of a table"),
        ("Pixel Value, Class\nbackground\n", "line 1: 'Pixel Value, Class' looks like the head"),
        ("background\ncat;dog\n", "line 2: 'cat;dog' is no name of a class"),
        ("background\ncat, dog\n", "line 2: 'cat, dog' is no name"),
        ("background\ncat: a pet\n", "line 2: 'cat: a pet' is no name"),
        ("background\ncat #ff0000\n", "line 2: 'cat #ff0000' is no name"),
        ("background\ncat [1, 2, 3]\n", "line 2: "),
        ("names:\n- background\n- cat\n", "line 1: 'names:'"),
        ("['background', 'cat']\n", r"line 1: "),
        ("background\n- cat\n", "line 2: '- cat' is no name"),
        ("0 background\ncat\n2 dog\n", "line 2: 'cat' has no number"),
        ("0,background\ncat\n", "line 2: 'cat' has no number"),
        ("Idx Ratio Name\n0 background\n1 cat\n", "line 1: 'Idx Ratio Name' has no number"),
        ("background\n64 128 64\n", "line 2: '64 128 64' has numbers and no name"),
        ("1 2 cat\n3 4 dog\n", "line 1: '1 2 cat' begins with numbers"),
        ("0,background\n999,cat\n", "line 2: '999,cat' has a number above 255"),
        ("0,background\n0,cat\n", "gives the number 0 twice"),
        ("background\n__ignore__\ncat\n", "'__ignore__' has no number, and is not the first line"),
        ("background,1,2\n", "line 1: "),
        ("background\ncat:1,2::\n", "has the colour 1 2"),
        ("300 1 2 cat\n", "has the colour 300 1 2; a channel is"),
        ("__ignore__\n", "names 0 classes"),
        ("cat 0 0 0 255\ndog 64 0 0 255\n", "'cat 0 0 0 255' may hold a colour of four channels"),
        ("0 0 0 255 cat\n64 0 0 255 dog\n", "may hold a colour of four channels"),
        ("0,0,0,255,cat\n64,0,0,255,dog\n", "may hold a colour of four channels"),
        ("cat 2\ndog 0\n", "line 1: 'cat 2' ends in a number"),
        ("background\ncat 0xff0000\n", "line 2: 'cat 0xff0000' is no name"),
        ("background\ncat 1.0 0.5 0.0\n", "line 2: 'cat 1.0 0.5 0.0' is no name"),
        ("c\0a\0t\0\n\0", "holds a control character: save it as UTF-8 text"),
        ("cat\x07\ndog\n", "'cat\\x07' holds a control character"),
        ("0,wall, partition\n1,door\n2,roof\n", "line 1: '0,wall, partition' has no number"),
        ("-1,void\n0,wall\n1,door\n", "line 1: '-1,void' has no number"),
        ("caf\u00e9\ncafe\u0301\n", "names the class 'caf\u00e9' twice"),
        ("cat\u200b\ncat\n", "names the class 'cat' twice"),
        ("hot  dog\nhot dog\n", "names the class 'hot dog' twice"),
    ],
)
def test_other_forms_are_refused_with_the_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path, text)
    message = str(caught.value)
    assert reason in message
    assert message.startswith(str(tmp_path / "classes.txt"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "names", "values"),
    [
        ("0. background\n1. cat\n", ("background", "cat"), {0: 0, 1: 1}),
        ("2) cat\n0) background\n", ("background", "cat"), {0: 0, 1: 2}),
        ("zone 1\nzone 2\n", ("zone 1", "zone 2"), None),
        ("zone 1 0 0 255\nzone 2 9 9 255\n", ("zone 1", "zone 2"), None),
        ("0 0 0 255 sea\n1 90 90 255 sky\n", ("sea", "sky"), {0: 0, 1: 1}),
        ("b\u00e4r\nsa\u0308ge\n", ("b\u00e4r", "s\u00e4ge"), None),
    ],
)
def test_what_is_like_a_form_that_is_refused(
    tmp_path: Path, text: str, names: tuple[str, ...], values: dict[int, int] | None
) -> None:
    found = listed(tmp_path, text)
    assert (found.names, found.values) == (names, values)


@pytest.mark.parametrize("name", ["boundary", "Border", "don't care", "no_data", "ignore label"])
def test_a_name_of_255_that_says_void_is_void(tmp_path: Path, name: str) -> None:
    found = listed(tmp_path, f"0,background\n1,cat\n255,{name}\n")
    assert (found.names, found.void_values) == (("background", "cat"), {255})
    assert listed(tmp_path, f"background\n{name}\n").names == ("background", name)


@pytest.mark.parametrize("line", ["0 \u2028 0 background", "P\x85ixel, Class, x", "a\x0b, b"])
def test_a_refused_line_makes_no_line_of_two(tmp_path: Path, line: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(f"sky\n{line}\nleaf\n", encoding="utf-8", newline="")
    with pytest.raises(DataError) as caught:
        read_class_list(path)
    assert len(str(caught.value).splitlines()) == 1
    assert "line 2" in str(caught.value)


def test_a_number_of_thousands_of_digits_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    for line in (f"cat {'7' * 5000}", f"{'7' * 5000} cat", "7" * 5000, f"{'7' * 5000}, cat"):
        path.write_text(f"sky\n{line}\n")
        with contextlib.suppress(DataError):
            assert len(read_class_list(path).names) == 2
