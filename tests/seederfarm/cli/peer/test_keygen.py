"""`seederfarm keygen`, and what all commands share: the table, exit status, one-line failures."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from hypercore.crypto import KeyPair
from hypercore.keys import decode_key
from seederfarm.cli import COMMANDS, main


def test_keygen_prints_a_seed_that_makes_the_public_key() -> None:
    result = CliRunner().invoke(main, ["keygen", "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    pair = KeyPair.from_seed(bytes.fromhex(shown["seed"]))
    assert pair.public_key.hex() == shown["public_key"]
    assert decode_key(shown["id"]) == pair.public_key


def test_keygen_writes_the_seed_for_its_owner_alone_and_does_not_print_it(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    result = CliRunner().invoke(main, ["keygen", "-o", str(path)])
    assert result.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    seed = path.read_text().strip()
    assert len(bytes.fromhex(seed)) == 32
    assert seed not in result.output
    assert KeyPair.from_seed(bytes.fromhex(seed)).public_key.hex() in result.output


def test_keygen_never_overwrites_a_file(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    path.write_text("precious")
    result = CliRunner().invoke(main, ["keygen", "-o", str(path)])
    assert result.exit_code == 2
    assert path.read_text() == "precious"
    assert result.stderr.count("\n") == 1


def test_keygen_into_a_missing_folder_fails_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["keygen", "-o", str(tmp_path / "no" / "seed")])
    assert result.exit_code == 1
    assert result.stderr == f"seederfarm: {tmp_path}/no/seed: No such file or directory\n"


def test_every_command_of_the_table_exists_and_has_help() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert result.output.startswith("Usage:")


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["sprout"]).exit_code == 2


def test_help_imports_no_command_and_nothing_heavy() -> None:
    probe = (
        "import sys; from seederfarm.cli import main; main(['--help'], standalone_mode=False);"
        "heavy = {'django', 'celery', 'asyncio', 'rich', 'workers'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "keygen" in done.stdout
