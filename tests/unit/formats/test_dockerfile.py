"""Dockerfiles of extensions: what is read, what is refused and where, and that nothing else comes out of the parser."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.errors import GenerateError
from packrunner.formats import dockerfile
from packrunner.formats.dockerfile_words import DEEPEST, split

if TYPE_CHECKING:
    from packrunner.formats.dockerfile import Dockerfile, Instruction

HEAD = "ARG base_image\nFROM ${base_image}\n"


def parse(text: str, where: str = "build.Dockerfile") -> Dockerfile:
    return dockerfile.parse(text.encode(), where=where)


def one(line: str) -> Instruction:
    (found,) = parse(HEAD + line).instructions
    return found


def expand(word: str, **values: str) -> str:
    file = parse(HEAD + "RUN true")
    return file.expander(file.instructions[0]).expand(word, values)


def test_lines_are_joined_and_comments_and_blanks_between_them_left_out() -> None:
    file = parse(HEAD + "# a comment\n\nRUN echo a \\\n  # not a part\n\n  && echo b\n  COPY x /y\n")
    assert [(i.name, i.text, i.line) for i in file.instructions] == [
        ("RUN", "echo a   && echo b", 5),
        ("COPY", "x /y", 9),
    ]


def test_names_are_read_in_any_case_and_windows_line_ends_too() -> None:
    file = parse("arg base_image\r\nfrom ${base_image}\r\nrun true\r\n")
    dockerfile.check_build(file)
    assert [i.name for i in file.instructions] == ["RUN"]


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    file = parse("# escape=`\n" + HEAD + "RUN dir c:\\ `\n  x")
    assert file.escape == "`"
    assert file.instructions[0].text == "dir c:\\   x"


@pytest.mark.parametrize("text", ["# escape=x\n", "# escape=`\n# escape=`\n"])
def test_a_broken_directive_is_refused(text: str) -> None:
    with pytest.raises(GenerateError, match=r"build\.Dockerfile:[12]:"):
        parse(text + HEAD)


def test_json_and_shell_forms() -> None:
    assert one('RUN ["/bin/a", "b c"]').words == ("/bin/a", "b c")
    assert one("RUN [ -f /x ] && true").words is None
    assert one('COPY ["a b", "/c"]').words == ("a b", "/c")


def test_flags_are_taken_off_copy() -> None:
    found = one("COPY --chown=1:2 --chmod=755 a b /c/")
    assert (found.flags, found.text) == ({"chown": "1:2", "chmod": "755"}, "a b /c/")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD + "FLY away", 3, "unknown instruction FLY"),
        (HEAD + "RUN true\nFROM other", 4, "a second FROM"),
        (HEAD + "RUN <<EOF\ntrue\nEOF", 3, "here-document"),
        (HEAD + "COPY <<a /x\ny\na", 3, "here-document"),
        (HEAD + "RUN --mount=type=cache,target=/x true", 3, "RUN --mount is not supported"),
        (HEAD + "COPY --from=other a /b", 3, "COPY --from is not supported"),
        ("ARG a\nFROM --platform=x y", 2, "FROM --platform is not supported"),
        (HEAD + "RUN", 3, "RUN says nothing"),
        ("RUN true\n" + HEAD, 1, "RUN before FROM"),
        ("FROM a b", 1, "FROM names one image"),
        (HEAD + "RUN a\0b", 3, "NUL"),
    ],
)
@pytest.mark.cnb("EXT-07")
def test_what_is_not_for_extensions_is_refused_with_file_and_line(text: str, line: int, says: str) -> None:
    with pytest.raises(GenerateError) as caught:
        parse(text)
    assert caught.value.exit_code == 92
    assert caught.value.slug == "dockerfile"
    assert says in caught.value.brief
    assert caught.value.at == f"build.Dockerfile:{line}"


def test_text_that_is_not_utf_8_or_too_long_is_refused() -> None:
    with pytest.raises(GenerateError, match="2: it is not UTF-8"):
        dockerfile.parse(b"ARG base_image\nFROM \xff", where="x")
    with pytest.raises(GenerateError, match="more than the"):
        dockerfile.parse(b"#" * (dockerfile.LIMIT + 1), where="x")


@pytest.mark.cnb("EXT-07")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("FROM ${base_image}\n", "starts with `ARG base_image`"),
        ("ARG other\nFROM ${base_image}\n", "starts with `ARG base_image`"),
        ("ARG base_image\nARG other\nFROM ${base_image}\n", "starts with `ARG base_image`"),
        ("ARG base_image\nFROM debian\n", "FROM ${base_image}"),
        ("ARG base_image\n", "FROM ${base_image}"),
    ],
)
def test_a_build_dockerfile_begins_as_the_specification_says(text: str, says: str) -> None:
    with pytest.raises(GenerateError) as caught:
        dockerfile.check_build(parse(text))
    assert says in caught.value.brief


@pytest.mark.cnb("EXT-07")
def test_other_instructions_only_warn() -> None:
    file = parse(HEAD + "EXPOSE 80\nRUN true\nONBUILD RUN x")
    dockerfile.check_build(file)
    assert [text for _, text in file.not_recommended()] == [
        "build.Dockerfile:3: EXPOSE is not an instruction for extensions",
        "build.Dockerfile:5: ONBUILD is not an instruction for extensions",
    ]


@pytest.mark.cnb("EXT-08")
def test_which_image_a_run_dockerfile_takes() -> None:
    assert dockerfile.switched_base(parse("ARG base_image\nFROM ${base_image}\nRUN x"), {}) == ""
    assert dockerfile.switched_base(parse("FROM some/run:image"), {}) == "some/run:image"
    assert dockerfile.switched_base(parse("RUN x"), {}) == ""
    with_arg = parse("ARG flavour=static\nFROM some/run:${flavour}")
    assert dockerfile.switched_base(with_arg, {}) == "some/run:static"
    assert dockerfile.switched_base(with_arg, {"flavour": "base"}) == "some/run:base"
    with pytest.raises(GenerateError, match="names no image"):
        dockerfile.switched_base(parse("ARG x\nFROM ${x}"), {})


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$a", "1"),
        ("${a}b", "1b"),
        ("$ab", ""),
        ("${c:-$a}", "1"),
        ("${e:-x}", "x"),
        ("${e-x}", ""),
        ("${a:+y}${c:+z}", "y"),
        ("'$a'", "$a"),
        ('"$a b"', "1 b"),
        ("\\$a", "$a"),
        ('"\\n"', "\\n"),
        ("$", "$"),
        ("$5", "$5"),
        ("${c:-${d:-deep}}", "deep"),
    ],
)
def test_variables_in_words(word: str, expected: str) -> None:
    assert expand(word, a="1", e="") == expected


@pytest.mark.parametrize("word", ["${a", "'a", "${}", "${a##x}", "${a:?}", "${c:-" * (DEEPEST + 2)])
def test_words_that_are_broken_are_refused_with_their_line(word: str) -> None:
    with pytest.raises(GenerateError, match=r"build\.Dockerfile:3:"):
        expand(word, a="1")


def test_env_in_both_forms() -> None:
    file = parse(HEAD + "ENV A=1 B=\"2 3\" C=4\\ 5\nENV OLD the whole  rest\nLABEL a.b='c d'")
    found = [dockerfile.assignments(file, i) for i in file.instructions]
    assert found == [[("A", "1"), ("B", '"2 3"'), ("C", "4\\ 5")], [("OLD", "the whole  rest")], [("a.b", "'c d'")]]
    with pytest.raises(GenerateError, match="needs NAME=value"):
        dockerfile.assignments(file, one("ENV alone"))


def test_a_declared_argument_is_known() -> None:
    file = parse(HEAD + "ARG build_id=0 other\n")
    assert file.declares("build_id")
    assert not file.declares("user_id")


PIECES = st.sampled_from(
    (
        *("FROM", "ARG", "RUN", "COPY", "ENV", "base_image", "${base_image}", "=", "\\", "#", "'", '"', "$", "{", "}"),
        *(":-", "[", "]", "<<E", "--chown=1", "a", "`", "escape", "é", "\n", " ", "\t", "\r\n"),
    )
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    try:
        file = parse(text, where="f")
        for instruction in file.instructions:
            if instruction.name == "ENV":
                dockerfile.assignments(file, instruction)
            if instruction.name == "ARG":
                dockerfile.arguments(file, instruction)
            file.expander(instruction).expand(instruction.text, {"a": "b"})
            assert 1 <= instruction.line <= text.count("\n") + 1
    except GenerateError as e:
        name, line = (e.at or "").split(":")
        assert name == "f"
        assert 1 <= int(line) <= text.count("\n") + 2


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(GenerateError):
        dockerfile.parse(data, where="f")


PLAIN = st.text(st.characters(blacklist_characters="\\'\"$`", blacklist_categories=("Cc", "Cs", "Zs", "Zl", "Zp")))


@given(st.lists(PLAIN.filter(bool), max_size=8))
def test_words_joined_by_blanks_come_apart_again(words: list[str]) -> None:
    assert split("  ".join(words), "\\") == words


@given(PLAIN, PLAIN)
def test_a_value_is_put_in_as_it_is(value: str, around: str) -> None:
    assert expand(around + "${v}" + around, v=value) == around + value + around
