"""The story of a child: stages in order, progress, signals, report."""
