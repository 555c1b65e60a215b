"""The adoption's checklist as pure functions: who is asked what, and what the answers say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]
DONE, LEFT_OUT = 0, 3
# What a whole step is when its hosts differ: the first of these that any of them says.
WORST_FIRST = ("unknown", "not done", "not installed", "done")


def checklist_questions(steps: Iterable[JSON], group_names: Iterable[str]) -> list[dict[str, str]]:
    """The questions of a host in these groups, each with its step's title, group and command."""
    mine = {"all", *group_names}
    return [
        {"title": step["title"], "group": question["group"], "command": question["command"]}
        for step in steps
        for question in step.get("questions", [])
        if question["group"] in mine
    ]


def checklist_answers(registered: Mapping[str, JSON]) -> list[dict[str, Any]]:
    """What was registered on each host, flat: host, title, group, state and what was said."""
    return [
        {
            "host": host,
            "title": result["item"]["title"],
            "group": result["item"]["group"],
            "command": result["item"]["command"],
            **_state(result),
        }
        for host, variable in registered.items()
        for result in variable["__checklist_answers"].get("results", [])
    ]


def _state(result: JSON) -> dict[str, str]:
    if "rc" not in result:
        return {"state": "unknown", "said": "the host does not answer"}
    said = (str(result.get("stdout", "")).strip() or str(result.get("stderr", "")).strip()).partition("\n")[0]
    states = {DONE: "done", LEFT_OUT: "not installed"}
    return {"state": states.get(int(result["rc"]), "not done"), "said": said}


def checklist_report(
    steps: Sequence[JSON], next_steps: Sequence[JSON], groups: Mapping[str, Sequence[str]], answers: Sequence[JSON]
) -> dict[str, Any]:
    """Steps and next steps, each with `state` and `answers`.

    A question whose group has no host is a part that was left out; a host of the group without an answer is unknown.
    """
    judged = [{**_texts(step), **_judged(step, groups, answers)} for step in steps]
    state = {step["step"]: step["state"] for step in judged}
    following = []
    for number, step in enumerate(next_steps, 1):
        own = _judged(step, groups, answers) if step.get("questions") else {"state": "done", "answers": []}
        states = [state[one] for one in step["steps"]] + ([own["state"]] if step.get("questions") else [])
        following.append({"next": number, "title": step["title"], "steps": step["steps"], "state": _worst(states)})
    return {
        "done": sum(step["state"] == "done" for step in judged),
        "of": len(judged),
        "steps": judged,
        "next_steps": following,
    }


def _texts(step: JSON) -> dict[str, Any]:
    return {name: step[name] for name in ("step", "title", "run", "changes", "downtime", "back")}


def _judged(step: JSON, groups: Mapping[str, Sequence[str]], answers: Sequence[JSON]) -> dict[str, Any]:
    found = []
    for question in step["questions"]:
        asked = groups.get(question["group"], [])
        if not asked:
            said = f"no host in group {question['group']}"
            found.append({"host": "", "state": "not installed", "said": said, "command": question["command"]})
        for host in asked:
            mine = [
                answer
                for answer in answers
                if (answer["host"], answer["title"], answer["group"]) == (host, step["title"], question["group"])
            ]
            silent = {"host": host, "state": "unknown", "said": "was not asked", "command": question["command"]}
            found += [{name: one[name] for name in ("host", "state", "said", "command")} for one in mine or [silent]]
    return {"state": _worst([one["state"] for one in found]), "answers": found}


def _worst(states: Iterable[str]) -> str:
    return min(states, key=WORST_FIRST.index)


def checklist_lines(report: JSON) -> list[str]:
    """The report for a person: one line a step, one a next step."""
    lines = [
        f"{step['state']:13} {step['step']:2}  {step['title']}"
        + (f": {said}" if (said := "; ".join(_said(step))) else "")
        for step in report["steps"]
    ]
    following = [f"{step['state']:13} {step['next']:2}  {step['title']}" for step in report["next_steps"]]
    return [*lines, f"{report['done']} of {report['of']} steps are done. Next steps:", *following]


def _said(step: JSON) -> list[str]:
    """What the step's own state comes from, once each."""
    return list(dict.fromkeys(one["said"] for one in step["answers"] if one["state"] == step["state"] and one["said"]))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "checklist_questions": checklist_questions,
            "checklist_answers": checklist_answers,
            "checklist_report": checklist_report,
            "checklist_lines": checklist_lines,
        }
