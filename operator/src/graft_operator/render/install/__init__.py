"""What an installation of the operator must grant it."""
