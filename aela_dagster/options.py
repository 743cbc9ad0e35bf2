"""Options that several commands share."""

from typing import Annotated

import typer

from aela.storage import Home

HomeOption = Annotated[
    str | None,
    typer.Option("--home", help="Data folder; without it `$AELA_HOME`, else `./data`."),
]


def existing(home: str | None) -> Home:
    """The data folder of that option, for commands that would find nothing in a new one.

    Raises:
        FileNotFoundError: there is none.
    """
    where = Home.at(home)
    if not where.root.exists():
        raise FileNotFoundError(
            f"There is no data folder {where.root}; `aela learn` and `aela up` make one."
        )
    return where
