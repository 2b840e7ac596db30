"""Files are in UTF-8 wherever they are written, and a console that knows fewer letters ends no command."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eif_lab.results.job import write_job

ROOT = Path(__file__).parents[2]
TEXTS = ("read_text", "write_text", "open")
NO_FILES = ("Image.open", "os.open", "webbrowser.open", "self._open")


def unspoken(file):
    """The places where a file opens text without saying its encoding."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), [*node.args, *(keyword.value for keyword in node.keywords)]
            binary = any(isinstance(one, ast.Constant) and one.value in ("rb", "wb", "ab") for one in given)
            opens = called.rpartition(".")[2] in TEXTS and called not in NO_FILES and not binary
            if opens and "encoding" not in [keyword.arg for keyword in node.keywords]:
                yield f"{file.relative_to(ROOT)}:{node.lineno}: {called}"


def test_every_text_file_is_opened_with_its_encoding():
    files = [file for room in ("eif_lab", "hydra_plugins", "benchmarks") for file in (ROOT / room).rglob("*.py")]
    assert [place for file in files for place in unspoken(file)] == []


SWEPT = """from pathlib import Path
from eif_lab.commands.answer import replace_unencodable
from eif_lab.commands.sweep import sweep_table
def main():
    replace_unencodable()
    return sweep_table(Path("sweep"))"""
"""What stands at the end of a sweep."""

COMMANDS = {
    "help": "from eif_lab.commands.dispatch import main; sys.argv[1:] = ['--help']",
    "status": "from eif_lab.commands.dispatch import main; sys.argv[1:] = ['status', 'sweep']",
    "table": SWEPT,
    "report": "from eif_lab.commands.dispatch import main; sys.argv[1:] = ['report', 'sweep', '--claims', 'claims.md']",
    "plan": "from eif_lab.commands.dispatch import main; sys.argv[1:] = ['plan=true', 'device=nowhere']",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_console_of_ascii_ends_no_command(command, tmp_path, make_verdict):
    told = {"name": "näg → ✓ 語", "overrides": ["cache=ä"], "status": "done", "seconds": 1.0}
    write_job(tmp_path / "sweep" / "0", told, None, [make_verdict("symmetry", (1, 0.5, 2, 0.01), note="ünd ±")], {})
    write_job(tmp_path / "sweep" / "1", {**told, "status": "failed", "reason": "weil… ä"}, None, [], {})
    (tmp_path / "claims.md").write_text("Größe ≥ 3\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    code = f"import sys\n{COMMANDS[command]}\nassert sys.stdout.encoding.lower() != 'utf-8'\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | ascii_only, capture_output=True, timeout=300
    )
    assert b"Traceback" not in done.stderr + done.stdout and done.stderr.count(b"\n") <= 1, done.stderr
    assert done.returncode == {"table": 1, "plan": 2}.get(command, 0), done
