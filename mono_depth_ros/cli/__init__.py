"""The `mono_depth` command: one module per subcommand, named in `main.COMMANDS`."""
