"""Data sets: from files as people have them to checked, split, memory-mapped records.

`prepare_dataset` is the door: it reads the files once, in processes, and writes everything a run needs below the run folder.
"""
