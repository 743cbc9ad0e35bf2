"""Options that several commands share."""

from typing import Annotated

import typer

HomeOption = Annotated[
    str | None,
    typer.Option("--home", help="Data folder; without it `$AELA_HOME`, else `./data`."),
]
