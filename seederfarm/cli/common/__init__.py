"""What all commands share: options, output, failures."""
