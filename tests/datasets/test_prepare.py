"""Where datasets may lie: what is in the way is told, and nothing but an old dataset is ever replaced."""

import json

import pytest

from kronos.datasets.prepare import check_apart, check_output_folder
from kronos.errors import ParameterError

PARTS = ("train_data.parquet", "val_data.parquet", "test_data.parquet", "train_data.pkl")


def dataset(folder):
    folder.mkdir(parents=True)
    for name in PARTS:
        (folder / name).touch()
    summary = {"model_name": "X", "config": {}, "simulated": False}
    (folder / "data_summary.json").write_text(json.dumps(summary))
    return folder


def test_what_may_be_made_and_replaced(tmp_path):
    check_output_folder(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_output_folder(tmp_path / "empty", force=False)
    old = dataset(tmp_path / "old")
    (old / ".DS_Store").touch()
    (tmp_path / "empty" / ".DS_Store").touch()
    for folder in (old, tmp_path / "empty"):
        check_output_folder(folder, force=True)
    (tmp_path / "link").symlink_to(old)
    check_output_folder(tmp_path / "link", force=True)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    check_output_folder(tmp_path / "circle", force=False)


@pytest.mark.parametrize(
    ("name", "force", "sentence"),
    [
        ("old", False, "exists; --force replaces it once the new dataset is whole"),
        ("file", True, "is a file; choose another folder"),
        ("photos", True, "holds no dataset and is not replaced"),
        ("with_notes", True, "holds notes.md besides its dataset, and is not replaced"),
        ("with_another", True, "holds inner besides its dataset, and is not replaced"),
        ("old/inner", False, "would lie inside the dataset"),
        ("link/inner", False, "would lie inside the dataset"),
    ],
)
def test_what_may_not(tmp_path, name, force, sentence):
    dataset(tmp_path / "old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    (dataset(tmp_path / "with_notes") / "notes.md").touch()
    dataset(dataset(tmp_path / "with_another") / "inner")
    with pytest.raises(ParameterError) as caught:
        check_output_folder(tmp_path / name, force=force)
    assert sentence in str(caught.value)


def test_datasets_of_one_command_lie_apart(tmp_path):
    check_apart([("A", tmp_path / "a"), ("B", tmp_path / "ab"), ("C", tmp_path / "c" / "a")])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for other, sentence in (("a", "A and B would share the folder"), ("link", "A and B would share the folder")):
        with pytest.raises(ParameterError, match=sentence):
            check_apart([("A", tmp_path / "a"), ("B", tmp_path / other)])
    for pair in ([("A", tmp_path / "a"), ("B", tmp_path / "a/b")], [("B", tmp_path / "a/b"), ("A", tmp_path / "a")]):
        with pytest.raises(ParameterError, match=r"B would lie in the folder .*a of A; give one another dataset_path"):
            check_apart(pair)
