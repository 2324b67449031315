"""Whole sweeps over faults: event schedules, deaths of the operator, hostile specs; and the map of which test has which row."""
