"""Inputs that hypothesis makes by a grammar: deeper and stranger than damage to a valid file.

hypothesis is needed by the script alone: the tests of the suite use the damage in the other files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fuzzing.archives import saved
from fuzzing.trees import BASE, IDS, change_seeds, npy
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.toml import flatten

EXAMPLES = 60
"""Inputs of one call."""

text = st.text(max_size=20)
name = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True), text)
integer = st.one_of(st.integers(-3, 300), st.integers(), st.integers(10**18, 10**20))


def _keys() -> list[str]:
    return sorted(
        {key for recipe in shipped_recipes() for key in flatten(load_recipe(recipe).resolved())}
    )


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


toml_scalar = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    integer.map(str),
    st.floats().map(str),
    text.map(_quoted),
    st.from_regex(r"[0-9]{1,4}(_[0-9]{3}){0,3}", fullmatch=True),
    st.datetimes().map(lambda value: value.isoformat()),
    st.sampled_from(("1979-05-27", "07:32:00", "0b11", "-0", "1e400", "+inf", "'a'", '"""a\nb"""')),
    st.sampled_from(("0x" + "f" * 5000, "9" * 5000, "[" * 500 + "]" * 500)),
    st.sampled_from(('"scenes"', '"voc"', '"unet"', '"fcn8s"', '"adversarial"', '"supervised"')),
)
toml_value = st.recursive(
    toml_scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(name, inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{_quoted(k)} = {v}" for k, v in table.items()) + "}"
        ),
    ),
    max_leaves=8,
)
key = st.one_of(
    st.sampled_from(_keys()),
    st.sampled_from(("data", "train", "optim.segmenter", "optim", "extends", "model.name")),
    st.lists(name.map(_quoted), min_size=1, max_size=4).map(".".join),
)
toml_line = st.one_of(
    st.tuples(key, toml_value).map(" = ".join),
    key.map(lambda table: f"[{table}]"),
    key.map(lambda table: f"[[{table}]]"),
    text.map(lambda words: f"# {words}"),
)
toml = st.tuples(
    st.sampled_from(("", "", 'extends = "parent.toml"\n', 'extends = "base.toml"\n', BASE)),
    st.lists(toml_line, max_size=8).map("\n".join),
).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))
change = st.tuples(
    st.one_of(key, st.sampled_from([c.decode().split("=")[0] for c in change_seeds()]), text),
    st.one_of(toml_value, text),
).map(lambda parts: "=".join(parts).encode("utf-8", "surrogatepass"))

list_line = st.one_of(
    st.sampled_from(IDS),
    st.lists(st.one_of(text, st.sampled_from((*IDS, "..", "/", "mask"))), max_size=5).map("/".join),
    st.lists(st.one_of(text, st.sampled_from((*IDS, "mask"))), max_size=5).map(" ".join),
    st.lists(st.one_of(text, st.sampled_from((*IDS, "background"))), max_size=4).map("\t".join),
)
lines = st.tuples(
    st.lists(list_line, max_size=6), st.sampled_from(("\n", "\r\n", "\r", "\n\n", "\u2028"))
).map(lambda parts: parts[1].join(parts[0]).encode("utf-8", "surrogatepass"))

json_value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.just("step"), text), inner, max_size=4),
    ),
    max_leaves=15,
)
result = st.one_of(
    json_value,
    st.fixed_dictionaries({"scores": json_value, "protocol": json_value}),
).map(lambda value: json.dumps(value).encode())

json_lines = st.lists(json_value, max_size=5).map(
    lambda values: "".join(json.dumps(value) + "\n" for value in values).encode()
)

plain_value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.binary(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(text, st.integers()), inner, max_size=4),
    ),
    max_leaves=15,
)
checkpoint = st.one_of(
    plain_value, st.dictionaries(text, plain_value, max_size=3).map(lambda x: {"format": 1, **x})
).flatmap(
    lambda value: st.sampled_from((0, 2, 4, 5)).map(lambda p: saved(value, pickle_protocol=p))
)

GRAMMARS: Mapping[str, st.SearchStrategy[bytes]] = {
    "recipe.file": toml,
    "recipe.parent": toml,
    "recipe.set": change,
    "list.voc": lines,
    "list.split": lines,
    "list.folder": lines,
    "list.classes": lines,
    "list.camvid": lines,
    "tags.text": lines,
    "tags.array": plain_value.flatmap(
        lambda value: st.sampled_from((0, 2, 4)).map(lambda p: npy(value, p))
    ),
    "checkpoint.made": checkpoint,
    "weights.pth": checkpoint,
    "result.result": result,
    "result.facts": result,
    "result.scalars": json_lines,
}
"""Reader -> its grammar."""


def each_example(
    strategy: st.SearchStrategy[bytes], number: int, use: Callable[[bytes], Any]
) -> None:
    """Call `use` with some inputs of a grammar, the same ones for the same number."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(content: bytes) -> None:
        use(content)

    run()
