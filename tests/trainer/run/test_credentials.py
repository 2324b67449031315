"""Which credentials open which place."""

from pathlib import Path

from graft_trainer.data.credentials import dataset_env, output_env

OPERATOR = {"AWS_REGION": "eu-1", "AWS_ENDPOINT_URL": "http://s3", "AWS_SESSION_TOKEN": "old", "PATH": "/bin"}


def secret(folder: Path, **keys: str) -> None:
    folder.mkdir(parents=True)
    for name, value in keys.items():
        (folder / name).write_text(value + "\n")


def test_without_secrets_both_are_the_environment(tmp_path: Path) -> None:
    assert output_env(OPERATOR, tmp_path) == dataset_env(OPERATOR, tmp_path) == OPERATOR


def test_mounted_files_win_over_variables_and_unknown_ones_are_not_read(tmp_path: Path) -> None:
    secret(tmp_path / "output", AWS_ACCESS_KEY_ID="new", AWS_SECRET_ACCESS_KEY="s", LD_PRELOAD="/evil.so")
    found = output_env({**OPERATOR, "AWS_ACCESS_KEY_ID": "stale"}, tmp_path)
    assert found["AWS_ACCESS_KEY_ID"] == "new"
    assert found["AWS_REGION"] == "eu-1"
    assert "LD_PRELOAD" not in found


def test_the_data_has_its_own_keys_and_not_the_outputs_token(tmp_path: Path) -> None:
    secret(tmp_path / "output", AWS_ACCESS_KEY_ID="o", AWS_SECRET_ACCESS_KEY="o", AWS_SESSION_TOKEN="o")
    secret(tmp_path / "dataset", AWS_ACCESS_KEY_ID="d", AWS_SECRET_ACCESS_KEY="d", AWS_REGION="us-1")
    found = dataset_env(OPERATOR, tmp_path)
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_REGION"], found["AWS_ENDPOINT_URL"]) == ("d", "us-1", "http://s3")
    assert "AWS_SESSION_TOKEN" not in found


def test_data_without_a_secret_is_read_with_the_outputs(tmp_path: Path) -> None:
    secret(tmp_path / "output", AWS_ACCESS_KEY_ID="o", AWS_SECRET_ACCESS_KEY="o")
    assert dataset_env(OPERATOR, tmp_path)["AWS_ACCESS_KEY_ID"] == "o"


def test_variables_alone_will_do(tmp_path: Path) -> None:
    given = {**OPERATOR, "GRAFT_DATASET_AWS_ACCESS_KEY_ID": "d", "GRAFT_DATASET_AWS_SECRET_ACCESS_KEY": "d"}
    assert dataset_env(given, tmp_path)["AWS_ACCESS_KEY_ID"] == "d"
