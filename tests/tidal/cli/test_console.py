import io

from rich.table import Table

from tidal.cli.console import _Stream
from tidal.cli.main import main


def test_errors_show_control_characters(capsys):
    assert main(["\x1b[2Jdemo\x07"]) == 2
    assert "There is no command '\\x1b[2Jdemo\\x07'." in capsys.readouterr().err


def test_tables_and_lines_show_control_characters():
    stream = _Stream(file=io.StringIO(), markup=False, highlight=False, force_terminal=True, width=60)
    table = Table()
    table.add_column("a\x1b[2J")
    table.add_row("b\x9b1m")
    stream.print("c\x1b]0;x\x07", table, style="bold")
    written = stream.file.getvalue()
    assert not set("\x9b\x07") & set(written) and "\x1b[2J" not in written and "\x1b]" not in written
    assert r"a\x1b[2J" in written and r"b\x9b1m" in written and r"c\x1b]0;x\x07" in written
