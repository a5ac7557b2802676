"""What every other room may use: specs, protocols, errors."""
