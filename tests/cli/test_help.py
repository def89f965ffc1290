"""The help of every command: complete, short where commands are listed, and in plain words."""

import re

import click
import pytest

from diurnal.cli.commands import diurnal

ODD = re.compile(r"\b(told|heard|whoever|nobody|somebody|says?|at night|by whose|for machines|is no|makes? one more)\b")


def walk(name, command):
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from walk(f"{name} {word}", below)


COMMANDS = dict(walk("diurnal", diurnal))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_each_option_has_a_help_in_plain_words(name):
    command = COMMANDS[name]
    options = [option for option in command.params if isinstance(option, click.Option)]
    texts = [command.help, *(option.help for option in options)]
    assert all(texts), f"{name}: a help is missing"
    for text in texts:
        assert not ODD.search(text), f"{name}: {text}"
    assert [option.name for option in options if not option.help.endswith(".")] == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if isinstance(command, click.Group)])
def test_lists_of_commands_cut_no_line(name):
    context = click.Context(COMMANDS[name], info_name=name, max_content_width=100, terminal_width=100)
    assert "..." not in COMMANDS[name].get_help(context).partition("Commands:")[2]
