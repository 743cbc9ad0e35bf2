"""Puts what lies beside `docs/` into the site, so that pages may link to it.

The pages are laid over the root of the repository: a link that is right in the repository, such as
`../benchmarks/results/README.md`, leads to `benchmarks/results/README.md` in the site.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

BESIDE = ("benchmarks/results", "CHANGELOG.md")
OUT_OF_DOCS = re.compile(r"(?<=\]\()\.\./")  # how a link out of docs/ begins
INTO_DOCS = re.compile(r"(?<=\]\()((?:\.\./)*)docs/")  # how one from elsewhere into it does


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for beside in BESIDE:
        found = [path for path in (root / beside).rglob("*") if path.is_file()]
        for path in found or [root / beside]:
            name = path.relative_to(root).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri.startswith(BESIDE):
        return INTO_DOCS.sub(r"\1", markdown)
    return OUT_OF_DOCS.sub("", markdown)
