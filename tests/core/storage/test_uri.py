"""URIs that name one place, and those that could name another."""

import pytest

from graft_core.errors import InvalidInput, NotSupported
from graft_core.storage.uri import parse_uri


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://bucket-1/a/b.jsonl", "bucket-1", "a/b.jsonl"),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/", "bucket", "a"),
        ("file:///data/ü.csv", "", "data/ü.csv"),
        ("file:///a..b/c...d", "", "a..b/c...d"),
    ],
)
def test_a_plain_uri_is_taken_apart(uri: str, bucket: str, key: str) -> None:
    parsed = parse_uri(uri)
    assert (parsed.bucket, parsed.key) == (bucket, key)
    assert str(parsed) == (uri.removesuffix("/") if key else uri)


def test_places_below_are_joined() -> None:
    assert str(parse_uri("s3://bucket/a/").join("ns", "name")) == "s3://bucket/a/ns/name"
    with pytest.raises(InvalidInput):
        parse_uri("s3://bucket/a").join("..", "b")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:data.csv", "is not a storage URI"),
        ("/data.csv", "is not a storage URI"),
        ("s3:///key", "'' is not a bucket name"),
        ("s3://b/../../x", "'b' is not a bucket name"),
        ("s3://bucket/../../x", "'..' are not allowed"),
        ("s3://bucket/a//b", "empty segments"),
        ("s3://bucket/./b", "empty segments"),
        ("file://host/x", "three slashes and no host"),
        ("s3://bucket/a?versionId=1", "is not a storage URI"),
        ("s3://bucket/a#b", "is not a storage URI"),
        ("s3://bucket/a\nb", "is not a storage URI"),
        ("s3://bucket/a\x00b", "is not a storage URI"),
        ("s3://bucket/" + "k" * 3000, "is not a storage URI"),
        ("S3://bucket/a", "scheme 'S3' is not supported"),
    ],
)
def test_an_ambiguous_uri_is_refused(uri: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_uri(uri, path="spec.dataset.train[0]")
    assert caught.value.path == "spec.dataset.train[0]"


def test_credentials_are_refused_and_not_quoted() -> None:
    with pytest.raises(InvalidInput, match="reference a Secret") as caught:
        parse_uri("s3://AKIA:topsecret@bucket/x")
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://host/x", "hf://org/data@main", "pvc://claim/x", "gs://bucket/x"])
def test_other_schemes_are_not_supported_yet(uri: str) -> None:
    with pytest.raises((NotSupported, InvalidInput), match=r"not supported in this version|credentials"):
        parse_uri(uri)
