"""Tests of core/kohya/words.py: commands and words as people paste them, from every shell."""

from __future__ import annotations

import pytest

from core.kohya.words import read_script, split_words


def words(text: str) -> list[list[str]]:
    return [command.words for command in read_script(text).commands]


@pytest.mark.parametrize(
    "text",
    [
        "run a.py --x=1 --y 'two words' --z",
        'run a.py \\\n  --x=1 \\\n  --y "two words" \\\n  --z\n',
        'run a.py \\  \n  --x=1 \\ \n  # a remark\n  --y "two words" \\\n\n  --z',
        'run a.py ^\n  --x=1 ^\n  --y "two words" --z',
        'run a.py `\r\n  --x=1 `\r\n  --y "two words" `\r\n  --z\r\n',
        'run a.py --x=1   \n    --y "two words"  \n\t--z  ',
        'run a.py \\ --x=1 \\ --y "two words" \\ --z',
        'run a.py ^ --x=1 ^ --y "two words" ^ --z',
        "run a.py —x=1 —y “two words” –z",
        'run a.py \\--x=1 \\--y "two words" ^--z',
        "V=1\nrun a.py --x=$V --y 'two words' --z",
        'set V=two words\nrun a.py --x=1 --y "%V%" --z',
        "$V = 'two words'\nrun a.py --x=1 --y \"$V\" --z",
        "run a.py --x=1 --y two\\ words --z > out.txt 2>&1",
    ],
)
def test_one_command_however_it_is_written(text: str) -> None:
    found = words(text)
    assert len(found) == 1
    flat = [piece for word in found[0] for piece in word.split("=", 1)]
    assert flat == ["run", "a.py", "--x", "1", "--y", "two words", "--z"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('--p="C:\\my pics\\" --q', ["--p=C:\\my pics\\", "--q"]),
        ("--p C:\\a\\b\\ --q", ["--p", "C:\\a\\b\\", "--q"]),
        ('--p "C:\\\\a\\\\b" --q', ["--p", "C:\\a\\b", "--q"]),
        ('--p "\\\\server\\share" --q', ["--p", "\\\\server\\share", "--q"]),
        ("--p C:\\Bob's\\x --q", ["--p", "C:\\Bob's\\x", "--q"]),
        ('--p "say \\"hi\\"" --q', ["--p", 'say "hi"', "--q"]),
        ("--p '$HOME/x' --q", ["--p", "$HOME/x", "--q"]),
        ("--p /data/R&D/x --q", ["--p", "/data/R&D/x", "--q"]),
        ('--empty "" --q', ["--empty", "--q"]),
    ],
)
def test_paths_and_quotes(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


def test_commands_are_kept_apart_and_know_their_lines() -> None:
    found = read_script("cd x && go --a\n# go --no\nrem go --no\n:: go --no\nlast --b | tee log; end\n").commands
    assert [command.words for command in found] == [
        ["cd", "x"],
        ["go", "--a"],
        ["last", "--b"],
        ["tee", "log"],
        ["end"],
    ]
    assert [command.line for command in found] == [1, 1, 5, 5, 5]


def test_a_launcher_alone_on_its_line_goes_on_and_other_lines_do_not() -> None:
    assert words("accelerate launch\n   train.py\n   --a\nls\n") == [
        ["accelerate", "launch", "train.py", "--a"],
        ["ls"],
    ]


def test_fences_of_notes_end_a_command_and_lists_do_not_go_on() -> None:
    text = "- **It runs.**\n```sh\ngo --a\n```\n- done\n"
    assert ["go", "--a"] in words(text)


def test_variables_without_a_value_and_open_quotes_are_told() -> None:
    found = read_script("go --a=$NONE --b ${NOR} --c 'it\ngo --d \"open")
    assert found.unset == {"NONE", "NOR"}
    assert found.commands[0].words == ["go", "--a=$NONE", "--b", "${NOR}", "--c", "'it"]
    assert [command.problem for command in found.commands] == [
        "",
        "a quote is not closed after 'open'; close it and try again",
    ]


def test_unquoted_variables_are_cut_at_blanks() -> None:
    assert words('MORE="--x --y 1"\ngo --a $MORE --b') == [["go", "--a", "--x", "--y", "1", "--b"]]
