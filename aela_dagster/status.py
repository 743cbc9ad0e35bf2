"""`aela status`: what is being done, what waits for what, and which generation speaks."""

import time
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aela.memory import store
from aela.mimicry import generation as generations
from aela.mimicry.predict import predicted
from aela_dagster import plan, records
from aela_dagster.definitions import the_schedule
from aela_dagster.runs import Runner


def run(console: Console, runner: Runner) -> None:
    """Print it. What is due is asked for by the sensors while `aela up` runs."""
    home, instance = runner.home, runner.instance
    console.print(f"Home: {home.root}", highlight=False, soft_wrap=True)
    runs, now_s = records.under_way(instance), time.time()
    table = Table("model", "state", "why")
    standings = plan.standings(instance, home, the_schedule.conditions, now_s, runs)
    for model, standing in standings.items():
        state = "due" if standing.training else "coming" if standing.coming else "waits"
        table.add_row(model, state, escape(standing.why))
    console.print(table)
    jobs = Counter(run.job_name for run in runs)
    doing = ", ".join(f"{number} {job}" for job, number in sorted(jobs.items()))
    waiting = sum(1 for _ in plan.to_ingest(instance, home))
    entries = store.remembered(home)
    console.print(f"Runs under way: {doing or 'none'}", highlight=False)
    console.print(f"Videos: {len(entries)} ingested, {waiting} to ingest", highlight=False)
    generation = generations.current(home)
    if generation is None:
        console.print("Nothing was learned yet, so nothing speaks.", highlight=False)
        return
    watching = plan.to_watch(instance, home, generation, now_s, runs)
    console.print(
        f"Generation {generation.sha[:12]} speaks since {generation.created}. Watched: "
        f"{len(predicted(home, generation.sha))}, due: {len(watching.now)}. "
        + escape(watching.why),
        highlight=False,
        soft_wrap=True,
    )
