"""What the program can be asked for, in the order of its help."""

COMMANDS = ("run", "select", "score", "status", "verify", "report", "export", "completion")
