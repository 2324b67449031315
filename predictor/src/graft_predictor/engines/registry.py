"""Which class runs a model; a new engine gets its line here."""

from graft_predictor.engines.base import Engine, LoadPlan

__all__ = ["make_engine"]


def make_engine(plan: LoadPlan) -> Engine:
    """Make the engine for the plan; nothing is loaded yet."""
    # Imported here: a predictor needs one of the two, and --help neither.
    if plan.model_class == "sequence-classification":
        from graft_predictor.engines.encoder import EncoderEngine

        return EncoderEngine(plan)
    from graft_predictor.engines.causal import CausalEngine

    return CausalEngine(plan)
