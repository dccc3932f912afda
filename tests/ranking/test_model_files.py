"""A sealed folder gives back what was sealed, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.errors import ModelError
from triage.ranking import model_files

KEY = b"k" * 32
FILES = {"state.npz": bytes(range(256)) * 40, "note": b"plain"}


def sealed(folder: Path) -> Path:
    model_files.write(folder, "encoder", FILES, {"version": "enc-1", "n_terms": 3}, KEY)
    return folder


def test_what_was_sealed_comes_back(tmp_path: Path) -> None:
    manifest, files = model_files.read(sealed(tmp_path), "encoder", KEY)
    assert files == FILES
    assert (manifest["version"], manifest["n_terms"]) == ("enc-1", 3)


def test_the_manifest_is_json_for_people(tmp_path: Path) -> None:
    outer = json.loads((sealed(tmp_path) / "manifest.json").read_text())
    assert outer["manifest"]["kind"] == "encoder"


def test_sealing_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    sealed(tmp_path)
    model_files.write(tmp_path, "encoder", {"state.npz": b"new"}, {"version": "enc-2"}, KEY)
    assert model_files.read(tmp_path, "encoder", KEY)[1] == {"state.npz": b"new"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_before_the_manifest_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(tmp_path)
    replace = Path.replace

    def die_at_manifest(self: Path, target: Path) -> Path:
        if target.name == model_files.MANIFEST:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", die_at_manifest)
    with pytest.raises(KeyboardInterrupt):
        model_files.write(tmp_path, "encoder", {"state.npz": b"new"}, {"version": "enc-2"}, KEY)
    assert model_files.read(tmp_path, "encoder", KEY)[1] == FILES


@given(st.data())
def test_no_changed_file_gets_past_the_seal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = sealed(tmp_path_factory.mktemp("model"))
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="restore the folder"):
        model_files.read(folder, "encoder", KEY)


@pytest.mark.parametrize(("kind", "key"), [("scorer", KEY), ("encoder", b"other")])
def test_another_kind_or_key_is_refused(tmp_path: Path, kind: str, key: bytes) -> None:
    with pytest.raises(ModelError, match="another secret key"):
        model_files.read(sealed(tmp_path), kind, key)


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        model_files.read(tmp_path / "nowhere", "encoder", KEY)
    folder = sealed(tmp_path / "model")
    next(folder.glob("state-*")).unlink()
    with pytest.raises(ModelError, match="missing or unreadable"):
        model_files.read(folder, "encoder", KEY)


def test_an_empty_key_seals_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="empty"):
        model_files.write(tmp_path, "encoder", FILES, {}, b"")


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    with (sealed(tmp_path) / "manifest.json").open("ab") as file:
        file.truncate(5_000_000)
    with pytest.raises(ModelError, match="too large"):
        model_files.read(tmp_path, "encoder", KEY)
