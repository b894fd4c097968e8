"""docs/tools.md, and the help of each command: both are what the structures say."""

from pathlib import Path

import pytest

from encke import cli
from encke.described import described
from encke.tools import page


def test_docs_are_up_to_date() -> None:
    """docs/tools.md says what the tools take."""
    there = Path(__file__).parents[2] / "docs" / "tools.md"
    assert there.read_text("utf-8") == page.page(), (
        "outdated; run: python -m encke.tools.page > docs/tools.md"
    )


@pytest.mark.parametrize("command", page.COMMANDS)
def test_every_field_is_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command takes all that its structure describes, with these words."""
    assert cli.run([*command.split(), "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for field in described(page.COMMANDS[command]):
        assert (field.given.metavar if field.given.positional else f" {field.flag} ") in said
        assert field.description in said
