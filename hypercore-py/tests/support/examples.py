"""How many examples properties try."""

from hypothesis import settings


def examples(count: int) -> int:
    """`count`, where the profile has a hundred by default; `./farm test --fast` has fewer of all."""
    return max(1, count * settings.default.max_examples // 100)
