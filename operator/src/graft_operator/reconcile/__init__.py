"""What to do next, as pure functions: `decide_finetunejob` and `decide_modelrelease`. No I/O, no clock, no memory but `status`."""
