"""Finds the texts in the code of the loaders that advise a rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import fedmed_transforms
from fedmed_transforms import SeriesRules

PACKAGE = Path(fedmed_transforms.__file__).parent
RULES = "|".join(field.name for field in fields(SeriesRules))
NAMED = re.compile(rf"\b({RULES})\s*=|`({RULES})`|\bthe rules? `?(\w+)")
"""A rule in a message: ``name=value``, ```name```, or a word after "the rule"."""

NO_ADVICE = ("expected the rules {}, found {}",)
"""Texts that speak of rules and advise none."""

FOLLOWED = {
    "the rule assume_spacing=[x, y, z] states mm where the file states none": "test_nrrd.py::"
    "test_no_geometry_is_invented_and_the_advice_loads_it",
    "expected numbers; the rule `nan` gives the number in their place": "test_values_in_their_place.py::"
    "test_voxels_that_are_no_numbers_are_refused_and_the_advice_loads_them",
    ", expected at most {}, the rule `full_scale`": "test_values_in_their_place.py::"
    "test_twelve_bits_in_sixteen_by_the_rule",
    "the rule padding='keep' keeps theirs": "test_segmentation_objects.py::"
    "test_a_picture_with_padding_is_no_label_until_the_padding_is_kept",
    "the rule `series` can choose by {}": "test_same_patient.py::test_two_values_are_refused_everywhere",
}
"""Parts of texts whose advice is followed by a test of its own, for what is no series of this module's cases."""


def advice() -> set[tuple[str, str]]:
    """The rules that messages advise, each with the text of the message as it is in the code, holes as ``{}``."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in _texts(ast.parse(path.read_text())):
            if text not in NO_ADVICE:
                found |= {(text, rule) for rule in rules_in(text)}
    return found


def rules_in(text: str) -> set[str]:
    """The rules that a text names."""
    return {next(name for name in match.groups() if name) for match in NAMED.finditer(text)}


def _texts(node: ast.AST) -> Iterator[str]:
    """Yields the texts of a module that are no docstrings, and no keywords of calls."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        yield "".join(str(part) for part in parts)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        if not isinstance(node, ast.JoinedStr) or isinstance(child, ast.FormattedValue):
            yield from _texts(child)
