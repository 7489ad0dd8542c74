"""What the README says is so. `python tests/test_readme.py` writes its table of settings anew."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from maskloop.cli.main import COMMANDS, load
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.options import Options
from maskloop.settings import Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- settings: made from settings.py -->\n", "<!-- end of settings -->\n"
UNITS = {1 << 30: "GiB", 1 << 20: "MiB"}


def settings_table() -> str:
    rows = [
        f"| {_variable(name, field)} | {_default(name, field)} | {field.description} |" for name, field in _fields()
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows, ""])


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def _variable(name: str, field: FieldInfo) -> str:
    """The shortest of a setting's names."""
    names = [f"MASKLOOP_{name.upper()}"]
    if isinstance(field.validation_alias, AliasChoices):
        names += [str(choice) for choice in field.validation_alias.choices if str(choice).isupper()]
    return f"`{min(names, key=len)}`"


def _default(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        home = "`~/.local/share/maskloop`"
        without = "`~/.local/share/maskloop/weights`"
        return f"`weights` of the checkout, without one {without}" if name == "weights_dir" else home
    if field.default in (None, (), PydanticUndefined):
        return ""
    for size, unit in UNITS.items():
        if name.endswith("_bytes") and field.default % size == 0:
            return f"{field.default // size} {unit}"
    return f"`{field.default}`"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.M | re.S)


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [each[1:] for each in words if each and Path(each[0]).name == program]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = README.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == settings_table()


@pytest.mark.parametrize("arguments", commands("maskloop"), ids=" ".join)
def test_every_command_and_option_exists(arguments: list[str]) -> None:
    command = get_command(load(COMMANDS[arguments[0]]))
    if hasattr(command, "commands"):
        command = command.commands[arguments[1]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize("arguments", commands("make"), ids=" ".join)
def test_every_make_target_exists(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(arguments) <= targets


@pytest.mark.parametrize("config", blocks("xml"))
def test_every_labeling_configuration_can_be_filled(config: str) -> None:
    ElementTree.fromstring(config)
    LabelConfig.parse(config)


@pytest.mark.parametrize("params", blocks("json"))
def test_every_example_of_extra_params_is_understood(params: str) -> None:
    given = json.loads(params)
    assert set(given) <= set(Options.model_fields)
    Options.read(given)


@pytest.mark.parametrize("code", blocks("python"))
def test_every_example_of_python_imports_what_exists(code: str) -> None:
    for line in code.splitlines():
        if line.startswith(("import ", "from ")):
            exec(line)


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bMASKLOOP_[A-Z_]+[A-Z]\b", README.read_text()))))
def test_every_variable_it_names_is_a_setting(name: str) -> None:
    assert name.removeprefix("MASKLOOP_").lower() in Settings.model_fields


if __name__ == "__main__":
    text = README.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    README.write_text(text[:start] + settings_table() + text[end:])
