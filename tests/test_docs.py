"""README, guides and code say the same: links lead somewhere, commands and settings exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.core import TyperGroup
from typer.main import get_command

from aela_dagster.cli import app

ROOT = Path(__file__).parents[1]
OUTSIDE_DOCS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/README.md")
COMMAND = r"(?:^|[;&(] ?)(?:[A-Z_]+=\S+ )*(aela [a-z][^;&)#]*)"  # at the start, or after another
PAGES = [*(ROOT / name for name in OUTSIDE_DOCS), *sorted((ROOT / "docs").glob("*.md"))]


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def _links(page: Path) -> Iterator[str]:
    for token in _tokens(page):
        for inline in token.children or ():
            if address := inline.attrGet("href") or inline.attrGet("src"):
                yield str(address)


def _anchors(page: Path) -> set[str]:
    """Of its headings, as those who show Markdown make them."""
    tokens = _tokens(page)
    titles = [tokens[n + 1].content for n, t in enumerate(tokens) if t.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for link in _links(page):
        address, _, anchor = link.partition("#")
        if "://" in address:
            continue
        target = page.parent / address if address else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name} links to {link}"


def _commands(page: Path) -> Iterator[list[str]]:
    """Every `aela` command in its blocks of commands, as words."""
    for token in _tokens(page):
        if token.type == "fence" and token.info == "bash":
            for line in token.content.splitlines():
                for command in re.findall(COMMAND, line):
                    yield shlex.split(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_and_have_these_options(page: Path):
    for words in _commands(page):
        command, rest = get_command(app), words[1:]
        while isinstance(command, TyperGroup):
            assert rest and rest[0] in command.commands, f"{page.name}: {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known, f"{page.name}: {' '.join(words)}"


def test_every_variable_that_the_code_reads_is_told_among_the_settings():
    told = (ROOT / "docs" / "settings.md").read_text()
    for package in ("aela", "resources", "assets", "aela_dagster"):
        for module in (ROOT / package).rglob("*.py"):
            for variable in re.findall(r"\bAELA_[A-Z_]+[A-Z]\b", module.read_text()):
                assert f"`{variable}" in told, f"{module.relative_to(ROOT)} reads {variable}"


def test_figures_in_the_readme_are_those_of_the_results():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line[:2] == "| "]
    results = (ROOT / "benchmarks" / "results" / "README.md").read_text().splitlines()
    assert rows and set(rows) <= set(results)
