"""Base models as folders on this machine, for trainer and predictor alike; knows no ML library and runs no model code."""
