"""What the story is told about somebody else's cluster: all that is missing or wrong is named before anything is built."""

from pathlib import Path

import pytest

from tests.cluster.e2e.surroundings import of_variables
from tests.cluster.errors import BedError


def told(folder: Path, values: str = "image: {operator: {repository: r/operator}}") -> dict[str, str]:
    (folder / "values.yaml").write_text(values)
    return {
        "GRAFT_TEST_VALUES": str(folder / "values.yaml"),
        "GRAFT_TEST_GATEWAY": "http://172.18.0.2/",
        "GRAFT_TEST_BUCKET": "models",
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        BedError, match=r"(?s)GRAFT_TEST_VALUES: a file.*GRAFT_TEST_BUCKET: a bucket.*AWS_SECRET_ACCESS_KEY: opens"
    ):
        of_variables({"GRAFT_TEST_GATEWAY": "http://172.18.0.2"})


@pytest.mark.parametrize(
    ("values", "told_of_it"),
    [
        ("image: [", "expected a YAML file"),
        ("replicas: 2", "expected values with `image`"),
        ("", "expected values with `image`"),
    ],
    ids=["no YAML", "no images", "empty"],
)
def test_values_that_name_no_images_are_refused(values: str, told_of_it: str, tmp_path: Path) -> None:
    with pytest.raises(BedError, match=told_of_it):
        of_variables(told(tmp_path, values))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BedError, match=r"nowhere\.yaml"):
        of_variables({**told(tmp_path), "GRAFT_TEST_VALUES": str(tmp_path / "nowhere.yaml")})


def test_a_domain_among_the_values_is_where_releases_answer(tmp_path: Path) -> None:
    plain = of_variables(told(tmp_path))
    named = of_variables(told(tmp_path, "{image: {}, config: {domain: models.example.org}}"))

    assert (plain.domain, named.domain) == ("example.com", "models.example.org")
    assert plain.gateway == "http://172.18.0.2"
    assert plain.keys == {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "hidden"}
