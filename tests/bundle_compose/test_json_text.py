"""JSON on few lines says the same as any other JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from medtl_monai.bundle.compose.json_text import WIDTH, json_text

WORD = st.text('abcé"\\@#$ ', max_size=30)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORD,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(WORD, inner, max_size=8),
    max_leaves=60,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(WORD, VALUE, max_size=10))
def test_it_is_the_same_content_in_the_same_order(value: dict[str, Any]) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert json.dumps(json.loads(text)) == json.dumps(value)


def test_entries_share_lines_and_lines_are_short() -> None:
    value = {
        "numbers": list(range(80)),
        **{f"knob{n}": "@some#id" for n in range(40)},
        "deep": {"a": [{"b": "c" * 50}] * 9},
    }
    lines = json_text(value).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 30
