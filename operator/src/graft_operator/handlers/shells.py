"""The shells of both kinds, made from the operator's settings."""

from graft_core.clock import Clock
from graft_operator.cluster.figures import Figures
from graft_operator.cluster.job_shell import ClusterJobShell
from graft_operator.cluster.prometheus import Prometheus
from graft_operator.cluster.release_moves import ReleaseDefaults
from graft_operator.cluster.release_shell import ClusterReleaseShell
from graft_operator.cluster.scrape import Scraper
from graft_operator.ports import Cluster
from graft_operator.reconcile.observed import Policy
from graft_operator.render.kube.http_route import GatewayDefaults
from graft_operator.render.kube.pod import PodDefaults
from graft_operator.render.kube.predictor_pod import PredictorDefaults
from graft_operator.settings import OperatorSettings

__all__ = ["make_shells"]


def make_shells(
    cluster: Cluster, clock: Clock, settings: OperatorSettings
) -> tuple[ClusterJobShell, ClusterReleaseShell]:
    """Make the shells of both kinds.

    Args:
        cluster: The API server.
        clock: Time.
        settings: What the operator is told.

    Returns:
        Those for FineTuneJobs and for ModelReleases.
    """
    policy = Policy(
        allowed_licenses=settings.allowed_licenses,
        watchdog_s=settings.watchdog_s,
        unready_grace_s=settings.unready_grace_s,
        missing_data_grace_s=settings.missing_data_grace_s,
        allowed_node_selector_keys=settings.allowed_node_selector_keys,
        allowed_toleration_keys=settings.allowed_toleration_keys,
    )
    trainer = PodDefaults(
        image=settings.trainer_image,
        service_account=settings.trainer_service_account,
        image_pull_secrets=settings.image_pull_secrets,
        env=settings.trainer_env,
        work_size=settings.work_size,
    )
    predictor = PredictorDefaults(
        image=settings.predictor_image,
        service_account=settings.predictor_service_account,
        image_pull_secrets=settings.image_pull_secrets,
        env=settings.predictor_env,
        gpu_resource=settings.gpu_resource,
    )
    release = ReleaseDefaults(
        predictor=predictor,
        gateway=GatewayDefaults(
            name=settings.gateway_name,
            namespace=settings.gateway_namespace,
            domain=settings.domain,
            scheme=settings.gateway_scheme,
        ),
        mode=settings.deployment_mode,
        prometheus_urls=settings.prometheus_urls,
    )
    figures = Figures(Scraper(cluster, clock), Prometheus())
    return (
        ClusterJobShell(cluster, clock, policy, trainer, output_uri=settings.output_uri),
        ClusterReleaseShell(cluster, clock, policy, release, figures),
    )
