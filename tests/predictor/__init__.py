"""The predictor, room by room; builders and doubles are in `tests.predictor.builders`, `.doubles` and `.models`."""
