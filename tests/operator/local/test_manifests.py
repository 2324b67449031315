"""Files that are no manifests: each refused with its name and the line or field, none with a traceback."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graft_core.errors import InvalidInput
from graft_operator.local.manifests import MAX_FILE_BYTES, read_manifests, refuse
from graft_operator.local.yaml_source import MAX_NODES, parse_yaml

HEAD = "apiVersion: graft.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: x}\n"

BAD_TEXTS = {
    "empty": ("", "no objects found in "),
    "only comments": ("# nothing\n---\n", "no objects found in "),
    "a word": ("hello", "is a str; expected an object with apiVersion, kind, metadata and spec"),
    "a list": ("- a\n- b\n", "is a list; expected an object with"),
    "a number": ("42", "is a int; expected an object with"),
    "an empty mapping": ("{}", "is a dict; expected an object with"),
    "a tab": (HEAD + "spec:\n\ttask: {}\n", "is not valid YAML: line 5, column 1: "),
    "an open bracket": ("kind: [", "is not valid YAML: line 2, column 1: did not find expected node content"),
    "a duplicate key": (HEAD + "spec: {}\nspec: {}\n", "line 5, column 1: the key 'spec' appears twice in one mapping"),
    "a duplicate key deep inside": (
        HEAD + "spec:\n  a: {b: 1, b: 2}\n",
        "line 5, column 13: the key 'b' appears twice",
    ),
    "a key that is a number": (HEAD + "spec: {1: a}\n", "line 4, column 8: the key 1 is not a string; quote it"),
    "a key that is true": (HEAD + "spec:\n  on: a\n", "line 5, column 3: the key True is not a string; quote it"),
    "a list as key": ("? [a]\n: b\n", "the key ['a'] is not a string"),
    "a Python object": ("!!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
    "a control character": ("kind: a\nname: \x00", "line 2: the character U+0000 is not allowed"),
    "an unknown alias": ("a: *b", "found undefined alias"),
    "deep nesting": ("[" * 5000, "is not valid YAML: "),
    "a number of 5,000 digits": (HEAD + f"spec: {{a: {'9' * 5000}}}", "is not valid YAML: Exceeds the limit"),
    "aliases that multiply": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
        f"holds more than {MAX_NODES} values once its aliases are followed",
    ),
    "an alias to itself": ("&a [*a]", "holds more than"),
    "another version": (HEAD.replace("v1alpha1", "v1"), "apiVersion 'graft.dev/v1' is not known or not usable"),
    "no version": ("kind: FineTuneJob\nmetadata: {name: x}\n", "apiVersion is missing; expected 'graft.dev/v1alpha1'"),
    "another kind": (HEAD.replace("FineTuneJob", "Deployment"), "kind 'Deployment' is not known or not usable"),
    "a kind in small letters": (HEAD.replace("FineTuneJob", "finetunejob"), "expected FineTuneJob or ModelRelease"),
    "no kind": ("apiVersion: graft.dev/v1alpha1\nmetadata: {name: x}\n", "kind is missing; expected FineTuneJob or"),
    "metadata that is a list": (HEAD.replace("{name: x}", "[]"), "metadata '[]' is not known or not usable"),
    "no metadata": (HEAD.replace("metadata: {name: x}\n", ""), "metadata is missing; expected an object with a name"),
    "no name": (HEAD.replace("{name: x}", "{labels: {}}"), "metadata.name is missing; expected a name such as"),
    "a name that is a number": (
        HEAD.replace("{name: x}", "{name: 12}"),
        "metadata.name '12' is not known or not usable",
    ),
    "a namespace that is a list": (HEAD.replace("x}", "x, namespace: []}"), "metadata.namespace '[]' is not known"),
    "the same object twice": (HEAD + "---\n" + HEAD, "document 2: FineTuneJob/x is already in "),
    "a List with a text in it": ("kind: List\nitems: [oops]\n", "items[0]: is a str; expected an object with"),
}


@pytest.mark.parametrize(("text", "told"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)

    found = read_manifests([str(file)])

    assert told in "\n".join(found.faults)
    assert str(file) in found.faults[0]


BAD_BYTES = {
    "an image": (b"\x89PNG\r\n\x1a\n\x00", "is not UTF-8 text: byte 0 is 0x89"),
    "Latin-1": (b"name: \xe9t\xe9\n", "is not UTF-8 text: byte 6 is 0xe9"),
    "UTF-16": ("kind: x".encode("utf-16"), "is not UTF-8 text: byte 0 is 0xff"),
    "too large": (b"#" * (MAX_FILE_BYTES + 1), f"is too large for a manifest; expected at most {MAX_FILE_BYTES} bytes"),
}


@pytest.mark.parametrize(("data", "told"), BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(data)

    assert read_manifests([str(file)]).faults == [f"{file}: {told}"]


def test_files_that_are_not_there_and_folders_without_manifests_are_told_together(tmp_path: Path) -> None:
    found = read_manifests([str(tmp_path / "none.yaml"), str(tmp_path)])

    assert str(refuse(found.faults)) == (
        "nothing was changed; 2 faults:\n"
        f"  {tmp_path}/none.yaml: no such file or folder\n"
        f"  {tmp_path}: the folder holds no .yaml, .yml, .json file"
    )


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(HEAD)

    def refuse_to_open(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse_to_open)

    assert read_manifests([str(file)]).faults == [f"{file}: cannot be read: Permission denied"]


def test_a_byte_order_mark_windows_lines_and_merge_keys_are_fine(tmp_path: Path) -> None:
    text = HEAD + "spec:\n  a: &a {x: 1, y: 2}\n  b: {<<: *a, y: 3}\n  day: 2026-01-31\n"
    file = tmp_path / "job.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    found = read_manifests([str(file)])

    assert found.faults == []
    assert found.documents[0].body["spec"] == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "day": "2026-01-31"}


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("{}[]:&*!<>|-? \n\t'\"#@ab1,", max_size=60)
)
@example("%YAML 9.9\n---\na: b")
@example("!!binary x")
@example("!!set {a, a}")
@example("!!timestamp [a]")
@example("!!int x")
@example("{<<: 1}")
def test_whatever_text_it_is_it_is_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse_yaml(text), list)
