"""One file a command: options, one call into the layers below, what to print."""
