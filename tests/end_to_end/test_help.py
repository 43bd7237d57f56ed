"""`--help` of every command: an example, and help and defaults for every argument and option; shell completion."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import typer.main

from c2llm_lite.cli import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# Options whose default is that nothing is done.
WITHOUT_DEFAULT = {"field", "prompt_name", "prompt", "against", "vectors", "texts", "like", "lang", "path", "query"}
WITHOUT_DEFAULT |= {
    "allow_host",
    "api_key_file",
    "targets",
    "own",
    "imports",
    "max_loss",
    "calibrate",
    "help",
    "public_key",
    "revoked",
    "exclude",
    "include",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_an_example_of_itself(name):
    assert f"Example: c2llm-lite {name} " in COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained_with_its_default(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["c2llm-lite", name, "--help"])
    with pytest.raises(SystemExit):
        app()
    shown = capsys.readouterr().out
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name}"
        assert parameter.help.split()[0] in shown, f"{name}: {parameter.name}"
        if parameter.name not in WITHOUT_DEFAULT and not getattr(parameter, "is_flag", False):
            stated = "default:" in parameter.help or "required" in parameter.help
            assert stated or parameter.required or parameter.default is not None, f"{name}: {parameter.name}"


def test_arguments_come_in_the_order_of_the_command_line():
    names = [parameter.name for parameter in COMMANDS["embed"].params]
    assert names[:3] == ["bundle", "source", "output"]
    assert names[-2:] == ["quiet", "debug"]


def test_completion_is_on():
    environment = os.environ | {
        "_C2LLM_LITE_COMPLETE": "complete_bash",
        "COMP_WORDS": "c2llm-lite emb",
        "COMP_CWORD": "1",
    }
    code = "import sys; sys.argv = ['c2llm-lite']; from c2llm_lite.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["embed", "embed-dataset"], done.stderr


def test_help_loads_no_numerical_library():
    code = "import sys, c2llm_lite.cli; print([name for name in ('numpy', 'tokenizers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
