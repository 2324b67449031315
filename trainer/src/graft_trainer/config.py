"""Numbers that bound what a trainer child takes in; the user's own settings are in the TrainRequest."""

from dataclasses import dataclass

__all__ = ["DataLimits"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class DataLimits:
    """Bounds on a data set: what is over one is a bad record or a refused file, never an exhausted machine."""

    record_bytes: int = 8 * MIB
    """Longest line, CSV record or JSON value. 8 MiB is millions of tokens; a longer line is a file without line ends."""
    depth: int = 32
    """Deepest nesting of objects and lists in a record; prompts need two or three."""
    keys: int = 4096
    """Most keys of a record, over all its objects."""
    json_array_bytes: int = 256 * MIB
    """Largest .json array: it is decoded as a whole, unlike .jsonl."""
    labels: int = 1024
    """Most labels of a classification task, as in the API."""
    strata: int = 1024
    """Most values of split.stratifyBy; more means that the field is free text."""
    piece_bytes: int = 16 * MIB
    """Bytes of .jsonl that one process checks at a time: bounds memory, and is the grain of parallel work."""
    batch_bytes: int = 16 * MIB
    """Bytes of records that are stored in one Arrow batch."""
    parallel_bytes: int = 48 * MIB
    """Data sets from this size are checked in several processes; below it, starting them costs more than it saves."""
    bucket_bytes: int = 256 * MIB
    """Bytes of input per bucket of the duplicate search: bounds its memory whatever the size of the data set."""
