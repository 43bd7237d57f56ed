"""How a documented function becomes a pair."""

from __future__ import annotations

from c2llm_lite.convert.calibrate.documented_code import Pair, pairs_of

SOURCE = '''
class Stack:
    """A class's docstring is no query."""

    @property
    def top(self):
        """The item that was
        pushed last.

        Raises IndexError where the stack is empty.
        """
        if not self.items:
            raise IndexError

        return self.items[-1]  # not removed

    def __len__(self):
        """How many items there are."""
        n = len(self.items)
        return n

    def silent(self):
        a = 1
        return a

    def abstract(self):
        """What a subclass is to do."""

def short(): "Three words here"; return 1
'''


def test_a_documented_function_is_a_pair() -> None:
    code = (
        "@property\ndef top(self):\n    if not self.items:\n        raise IndexError\n"
        "    return self.items[-1]  # not removed"
    )
    assert list(pairs_of(SOURCE, "stack")) == [Pair("stack", "Stack.top", "The item that was pushed last.", code)]


def test_hashes_see_through_spacing_case_and_punctuation() -> None:
    one = Pair("m", "f", "Push an item.", "def f():\n    return 1")
    other = Pair("n", "g", "push  an item", "def f():\n\treturn  1")
    assert (one.sha256, one.query_sha256) == (other.sha256, other.query_sha256)
    assert one.sha256 != Pair("m", "f", "Push an item.", "def f():\n    return 2").sha256
