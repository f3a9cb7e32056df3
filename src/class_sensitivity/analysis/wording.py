"""Lists in sentences."""

from collections.abc import Iterable


def joined(words: Iterable[object], last: str = "and") -> str:
    """Words with commas, and another word before the last of them.

    Examples:
        >>> joined([1, 2, 3]), joined(["cat", "dog"], last="or"), joined(["cat"])
        ('1, 2 and 3', 'cat or dog', 'cat')
    """
    *first, final = map(str, words)
    return f"{', '.join(first)} {last} {final}" if first else final
