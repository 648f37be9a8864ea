"""From file to file: what a command, or `ucdir.restore()`, does."""
