"""Which class runs a model; a new engine gets its line here."""

from graft_predictor.engines.base import Engine, LoadPlan

__all__ = ["make_engine"]


def make_engine(plan: LoadPlan) -> Engine:
    """Make the engine for the plan; nothing is loaded yet."""
    # Imported here: a predictor needs one of them, --help none, and a server's predictor has no torch.
    if plan.engine.type == "transformers":
        return _make_in_process(plan)
    from graft_predictor.engines.remote.engine import RemoteEngine

    if plan.engine.type == "tgi":
        from graft_predictor.engines.remote.tgi import TgiDialect

        return RemoteEngine(plan, TgiDialect())
    from graft_predictor.engines.remote.vllm import VllmDialect

    return RemoteEngine(plan, VllmDialect())


def _make_in_process(plan: LoadPlan) -> Engine:
    if plan.model_class == "sequence-classification":
        from graft_predictor.engines.encoder import EncoderEngine

        return EncoderEngine(plan)
    from graft_predictor.engines.causal import CausalEngine

    return CausalEngine(plan)
