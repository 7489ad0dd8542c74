"""A page for people who open the backend's address in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any

from maskloop.learning.versions import in_words

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<title>maskloop</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
th { text-align: left; font-weight: 500; padding-right: 2rem; vertical-align: top; }
.problem { color: #a40000; }
</style>
<h1>maskloop</h1>
<p>An ML backend for Label Studio. Connect it there with this address, under Settings, Model.</p>
<table>$rows</table>
$problems
$failures
""")


def page(health: dict[str, Any]) -> str:
    """``health`` is the body of ``/health``."""
    events = health["batches"].get("events")
    facts = {
        "Model": in_words({None: health["model_version"], **health["project_versions"]}),
        "Engine": " ".join(filter(None, (health["engine"], health["engine_note"]))) or "no worker told yet",
        "Redis": health["redis"],
        **{
            f"Workers, {name}": ", ".join(f"{count} {state}" for state, count in workers.items())
            for name, workers in health["workers"].items()
        },
        **{
            f"Queue, {name}": ", ".join(f"{count} {state}" for state, count in queue.items())
            for name, queue in health["queues"].items()
        },
        **{
            f"Predictions, project {project}": ", ".join(f"{count} {state}" for state, count in tally.items())
            for project, tally in health["batches"].get("projects", {}).items()
        },
        **({"Feedback": f"{events} events wait to be recorded"} if events is not None else {}),
        **({"At work": " ".join(health["doing"])} if health["doing"] else {}),
    }
    failures = [(_concerns(one), one["reason"]) for one in health["batches"].get("failures", ())]
    return PAGE.substitute(
        rows=_rows(facts.items()),
        problems="".join(f'<p class="problem">{escape(problem)}</p>' for problem in health["problems"]),
        failures=f"<h2>The last failures</h2><table>{_rows(failures)}</table>" if failures else "",
    )


def _concerns(failure: Mapping[str, Any]) -> str:
    project = f"Project {failure['project']}"
    return project if failure["task"] is None else f"{project}, task {failure['task']}"


def _rows(facts: Iterable[tuple[str, object]]) -> str:
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts)
