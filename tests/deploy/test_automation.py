"""Both forges run the same script as a person. The commit hooks download nothing."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
GATE: Final = "bash .ci/run"


def document_of(name: str) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


WORKFLOW: Final = document_of(".github/workflows/ci.yml")
PIPELINE: Final = document_of(".gitlab-ci.yml")
REPOS: Final[list[dict[str, Any]]] = document_of(".pre-commit-config.yaml")["repos"]
HOOKS: Final[list[dict[str, Any]]] = [hook for repo in REPOS for hook in repo["hooks"]]


def test_the_gate_is_a_script_of_the_project() -> None:
    assert (ROOT / GATE.removeprefix("bash ")).is_file()


def test_the_workflow_runs_the_gate_alone_and_within_its_time() -> None:
    (job,) = WORKFLOW["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [GATE]
    assert job["timeout-minutes"] == 90


def test_the_workflow_runs_on_every_proposal_and_may_write_nothing() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key `on` as true.
    assert triggers == {"push": {"branches": ["main"]}, "pull_request": None}
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_an_action_is_pinned_by_its_major_version() -> None:
    (job,) = WORKFLOW["jobs"].values()
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)


def test_the_pipeline_runs_the_gate_alone_and_within_its_time() -> None:
    (job,) = PIPELINE.values()
    assert job["script"] == [GATE]
    assert job["timeout"] == "90 minutes"


def test_both_forges_use_the_python_of_the_lock_files() -> None:
    (steps,) = (job["steps"] for job in WORKFLOW["jobs"].values())
    assert [step["with"]["python-version"] for step in steps if "with" in step] == ["3.11"]
    assert PIPELINE["check"]["image"] == "python:3.11"
    assert "--python-version 3.11 " in (ROOT / "Makefile").read_text()


def test_every_hook_is_local() -> None:
    assert [repo["repo"] for repo in REPOS] == ["local"]


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_a_hook_runs_a_tool_of_the_development_environment(hook: dict[str, Any]) -> None:
    assert hook["language"] == "system"
    assert hook["entry"].startswith(".venv/bin/")
    assert "additional_dependencies" not in hook
